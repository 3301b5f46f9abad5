//! Checks that this user sees all rows of a table: a row policy, a lagging replica or several servers behind one
//! address make a lookup miss rows. A failure names what hides rows. It reads only row counts, which ClickHouse knows
//! without a scan unless something filters the rows.

use std::time::Duration;

use serde::Deserialize;

use super::client::ClickHouse;
use super::failures;
use super::quoting::quote_identifier;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// Maximum number of comparisons of the two counts while others write.
const MAX_COMPARISONS: u32 = 5;
/// Interval between two comparisons.
const PAUSE: Duration = Duration::from_millis(200);
/// ClickHouse's name of the error under a profile with `readonly = 1`.
const READ_ONLY: &str = "readonly";

/// What the server reports about a table, independent of the user.
#[derive(Debug, Deserialize)]
struct ServerCount {
    /// Number of rows, including those hidden by a lightweight DELETE; `None` if the engine does not count them.
    rows: Option<String>,
    is_replicated: u8,
}

/// The rows of a table that this user can read.
#[derive(Debug, Deserialize)]
struct Visible {
    rows: String,
}

#[derive(Debug, Deserialize)]
struct Replica {
    lags: u8,
}

/// Fails unless a row that is not found in `table` is certain to be absent.
pub async fn check(clickhouse: &ClickHouse, table: &str) -> Result<(), Failure> {
    if is_injected(Fault::SkipVisibilityCheck) {
        return Ok(());
    }
    let Some((_, is_replicated)) = server_count(clickhouse, table).await? else { return Ok(()) };
    if is_replicated {
        check_replica(clickhouse, table).await?;
    } else if let Some([first, second]) = clickhouse.alternating_servers() {
        return Err(several_servers(table, &first, &second));
    }
    check_counts(clickhouse, table).await
}

/// Compares the server's count with the count that this user sees. While others write, the two cannot be read at the
/// same time, so it then suffices that the user sees as many rows as the table had before.
async fn check_counts(clickhouse: &ClickHouse, table: &str) -> Result<(), Failure> {
    for comparison in 1..=MAX_COMPARISONS {
        let Some((before, _)) = server_count(clickhouse, table).await? else { return Ok(()) };
        let seen = visible_count(clickhouse, table).await?;
        let Some((after, _)) = server_count(clickhouse, table).await? else { return Ok(()) };
        let is_quiet = before == after;
        if seen == before && is_quiet || !is_quiet && comparison == MAX_COMPARISONS && seen >= before.min(after) {
            return Ok(());
        }
        if comparison == MAX_COMPARISONS {
            return Err(rows_hidden(table, seen, before.min(after)));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Number of rows as the server counts them, and whether the table is replicated; `None` if its engine does not count.
async fn server_count(clickhouse: &ClickHouse, table: &str) -> Result<Option<(u64, bool)>, Failure> {
    let query = "SELECT toString(total_rows) AS rows, toUInt8(match(engine, '^(Replicated|Shared)')) AS is_replicated \
                 FROM system.tables WHERE database = currentDatabase() AND name = {table:String} FORMAT JSON";
    let server_count: Vec<ServerCount> = clickhouse.select(query, table).await?;
    let count = |server_count: ServerCount| Some((server_count.rows?.parse().ok()?, server_count.is_replicated == 1));
    Ok(server_count.into_iter().next().and_then(count))
}

/// Number of rows that this user can read, including those hidden by a lightweight DELETE unless the user may not
/// change settings.
async fn visible_count(clickhouse: &ClickHouse, table: &str) -> Result<u64, Failure> {
    let query =
        |settings| format!("SELECT toString(count()) AS rows FROM {}{settings} FORMAT JSON", quote_identifier(table));
    let visible_count: Vec<Visible> = match clickhouse.select(&query(" SETTINGS apply_deleted_mask = 0"), table).await {
        Err(failure) if failure.code == READ_ONLY => clickhouse.select(&query(""), table).await?,
        counts => counts?,
    };
    let count = visible_count.first().and_then(|visible_count| visible_count.rows.parse().ok());
    count.ok_or_else(|| failures::not_a_response("a body that is not the number of rows"))
}

/// Fails if this replica lags behind: it then lacks rows that another one has acknowledged.
async fn check_replica(clickhouse: &ClickHouse, table: &str) -> Result<(), Failure> {
    let query = "SELECT toUInt8(is_readonly OR is_session_expired OR log_pointer <= log_max_index OR inserts_in_queue > 0) \
                 AS lags FROM system.replicas WHERE database = currentDatabase() AND table = {table:String} FORMAT JSON";
    let replicas: Vec<Replica> = clickhouse.select(query, table).await?;
    if replicas.iter().all(|replica| replica.lags == 0) {
        return Ok(());
    }
    let what = format!("this replica of table {table} lags behind; rows that it lacks may have landed on another one");
    Err(Failure::new(Class::Transient, what))
}

fn rows_hidden(table: &str, seen: u64, server_count: u64) -> Failure {
    let what = format!(
        "table {table} has {server_count} rows and this ClickHouse user sees {seen} of them, so missing rows \
         cannot be told from hidden ones; remove the row policy for this user, or anything else that hides rows from it"
    );
    Failure::new(Class::Operator, what)
}

fn several_servers(table: &str, first: &str, second: &str) -> Failure {
    let what = format!(
        "several servers respond at the address of ClickHouse ({first}, {second}) and table {table} is not replicated, so a row \
         missing on one of them may be on another; configure the address of a single server"
    );
    Failure::new(Class::Operator, what)
}
