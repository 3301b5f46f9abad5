//! The promises of ingest, on real Kafka and ClickHouse; a file per promise.

#[cfg(test)]
mod commits_only_what_landed;
#[cfg(test)]
mod dead_letters_poison;
#[cfg(test)]
mod drains_on_sigterm;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod header_names_are_bytes;
#[cfg(test)]
mod killed_at_any_point;
#[cfg(test)]
mod lands_a_table_of_ones_own;
#[cfg(test)]
mod lands_every_codec;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod process;
#[cfg(test)]
mod rejects_what_only_clickhouse_refuses;
#[cfg(test)]
mod stays_in_budget;
#[cfg(test)]
mod survives_clickhouse_outage;
