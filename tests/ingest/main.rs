//! The promises of ingest, on real Kafka and ClickHouse; a file per promise.

#[cfg(test)]
mod acknowledgements_are_checked;
#[cfg(test)]
mod another_decoder_takes_over;
#[cfg(test)]
mod audit_finds_what_is_missing;
#[cfg(test)]
mod believes_only_clickhouse;
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
mod dead_letters_take_no_memory;
#[cfg(test)]
mod drains_on_sigterm;
#[cfg(test)]
mod gaps_in_the_log;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod header_names_are_bytes;
#[cfg(test)]
mod keeps_its_memory;
#[cfg(test)]
mod killed_at_any_point;
#[cfg(test)]
mod lag_is_what_can_be_read;
#[cfg(test)]
mod lands_a_table_of_ones_own;
#[cfg(test)]
mod lands_every_codec;
#[cfg(test)]
mod lands_every_time_of_rfc_3339;
#[cfg(test)]
mod lands_words_and_names_with_escapes;
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
mod rejects_what_only_clickhouse_refuses;
#[cfg(test)]
mod replays_dead_letters;
#[cfg(test)]
mod sets_refused_rows_aside;
#[cfg(test)]
mod stays_in_budget;
#[cfg(test)]
mod survives_a_broken_broker;
#[cfg(test)]
mod survives_a_slow_or_broken_clickhouse;
#[cfg(test)]
mod survives_clickhouse_outage;
#[cfg(test)]
mod survives_rebalances;
#[cfg(test)]
mod table_changed_meanwhile;
#[cfg(test)]
mod unreadable_records;
#[cfg(test)]
mod users_of_other_profiles;
#[cfg(test)]
mod views_are_followed;
#[cfg(test)]
mod window_overrun;
