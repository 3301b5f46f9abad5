//! The statements that the steps of a rebuild send.

use std::time::Duration;

use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::name::TableName;
use crate::failure::Failure;

/// Ends the name of a table that takes the place of a month.
pub(super) const SCRATCH: &str = "__rebuild";
/// How long it waits for whoever writes.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Runs a statement that returns nothing.
pub(super) async fn run(clickhouse: &ClickHouse, query: &str, settings: &[(&str, String)]) -> Result<(), Failure> {
    clickhouse.query(query, settings).await.map(drop)
}

/// Drops a table, if there is one.
pub(super) async fn drop_table(clickhouse: &ClickHouse, table: &TableName) -> Result<(), Failure> {
    run(clickhouse, &format!("DROP TABLE IF EXISTS {table}"), &[]).await
}
