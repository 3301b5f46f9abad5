//! Sends the statements that the steps of a rebuild share. It decides nothing.

use std::time::Duration;

use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::name::TableName;
use crate::failure::Failure;

/// Suffix of lock and scratch tables.
pub(super) const SCRATCH: &str = "__rebuild";
/// Interval between two checks for other writers.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Runs a statement that returns nothing.
pub(super) async fn run(clickhouse: &ClickHouse, query: &str, settings: &[(&str, String)]) -> Result<(), Failure> {
    clickhouse.query(query, settings).await.map(drop)
}

/// Drops a table if it exists.
pub(super) async fn drop_table(clickhouse: &ClickHouse, table: &TableName) -> Result<(), Failure> {
    run(clickhouse, &format!("DROP TABLE IF EXISTS {table}"), &[]).await
}
