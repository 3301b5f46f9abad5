//! The promises of ingest, tested on real Kafka and ClickHouse; one file per promise.

#[cfg(test)]
mod accepts_only_clickhouse_responses;
#[cfg(test)]
mod acknowledgements_are_checked;
#[cfg(test)]
mod another_decoder_takes_over;
#[cfg(test)]
mod audit_finds_missing_rows;
#[cfg(test)]
mod blocks_grow_in_a_backlog;
#[cfg(test)]
mod breaker_stops_a_stream_of_poison;
#[cfg(test)]
mod commits_only_what_landed;
#[cfg(test)]
mod dead_letters_fit;
#[cfg(test)]
mod dead_letters_poison;
#[cfg(test)]
mod dead_letters_refused_rows;
#[cfg(test)]
mod dead_letters_stay_in_budget;
#[cfg(test)]
mod drains_on_sigterm;
#[cfg(test)]
mod gaps_in_the_log;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod header_names_are_bytes;
#[cfg(test)]
mod isolates_refused_rows;
#[cfg(test)]
mod killed_at_any_point;
#[cfg(test)]
mod lag_counts_readable_records;
#[cfg(test)]
mod lands_custom_tables;
#[cfg(test)]
mod lands_escaped_words_and_names;
#[cfg(test)]
mod lands_every_codec;
#[cfg(test)]
mod lands_every_rfc_3339_time;
#[cfg(test)]
mod long_rebuilds;
#[cfg(test)]
mod obeys_the_operator;
#[cfg(test)]
mod offsets_missing_or_moved;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod partition_without_a_leader;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rebuilds_every_stage;
#[cfg(test)]
mod refuses_to_start;
#[cfg(test)]
mod replays_dead_letters;
#[cfg(test)]
mod restricted_clickhouse_users;
#[cfg(test)]
mod stays_in_budget;
#[cfg(test)]
mod stays_under_256_mib;
#[cfg(test)]
mod survives_a_broken_broker;
#[cfg(test)]
mod survives_a_slow_or_broken_clickhouse;
#[cfg(test)]
mod survives_clickhouse_outage;
#[cfg(test)]
mod survives_rebalances;
#[cfg(test)]
mod table_changes_at_runtime;
#[cfg(test)]
mod unreadable_records;
#[cfg(test)]
mod view_targets_are_checked;
#[cfg(test)]
mod window_overrun;
