//! Whether this user sees all rows that a table has: a row policy, a replica that lags or several servers behind one address
//! make a look-up find nothing where there is something.
//! A table goes in; nothing comes out if every row is visible, else a failure that says what hides them. It reads counts
//! only, which ClickHouse has at hand, unless something filters the rows.

use std::time::Duration;

use serde::Deserialize;

use super::client::ClickHouse;
use super::failures;
use super::quoting::quote_identifier;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// How often the two counts are compared while others write.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// ClickHouse's name for a profile with `readonly = 1`.
const MAY_SET_NOTHING: &str = "readonly";

/// What the server says of a table, whoever asks.
#[derive(Debug, Deserialize)]
struct Held {
    /// Its rows, those that a lightweight DELETE hides as well; `None` where its engine does not know.
    rows: Option<String>,
    is_replicated: u8,
}

/// What a user can read of a table.
#[derive(Debug, Deserialize)]
struct Visible {
    rows: String,
}

#[derive(Debug, Deserialize)]
struct Replica {
    lags: u8,
}

/// Fails unless a row that is not found in `table` is not there.
pub async fn check(clickhouse: &ClickHouse, table: &str) -> Result<(), Failure> {
    if is_injected(Fault::SkipSightCheck) {
        return Ok(());
    }
    let Some((_, is_replicated)) = held(clickhouse, table).await? else { return Ok(()) };
    if is_replicated {
        has_caught_up(clickhouse, table).await?;
    } else if let Some([one, other]) = clickhouse.alternating_servers() {
        return Err(several(table, &one, &other));
    }
    counts_agree(clickhouse, table).await
}

/// Compares what the server counts with what this user counts. While others write the two are never of the same moment,
/// so it is enough then that the user sees as many rows as the table had before.
async fn counts_agree(clickhouse: &ClickHouse, table: &str) -> Result<(), Failure> {
    for tried in 1..=TRIES {
        let Some((before, _)) = held(clickhouse, table).await? else { return Ok(()) };
        let seen = visible(clickhouse, table).await?;
        let Some((after, _)) = held(clickhouse, table).await? else { return Ok(()) };
        let is_quiet = before == after;
        if seen == before && is_quiet || !is_quiet && tried == TRIES && seen >= before.min(after) {
            return Ok(());
        }
        if tried == TRIES {
            return Err(hidden(table, seen, before.min(after)));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Rows of a table as the server counts them, and whether it is replicated; `None` where its engine does not count.
async fn held(clickhouse: &ClickHouse, table: &str) -> Result<Option<(u64, bool)>, Failure> {
    let query = "SELECT toString(total_rows) AS rows, toUInt8(match(engine, '^(Replicated|Shared)')) AS is_replicated \
                 FROM system.tables WHERE database = currentDatabase() AND name = {table:String} FORMAT JSON";
    let held: Vec<Held> = clickhouse.select(query, table).await?;
    let count = |held: Held| Some((held.rows?.parse().ok()?, held.is_replicated == 1));
    Ok(held.into_iter().next().and_then(count))
}

/// Counts also what a lightweight DELETE hides, unless the user may set nothing.
async fn visible(clickhouse: &ClickHouse, table: &str) -> Result<u64, Failure> {
    let query =
        |settings| format!("SELECT toString(count()) AS rows FROM {}{settings} FORMAT JSON", quote_identifier(table));
    let visible: Vec<Visible> = match clickhouse.select(&query(" SETTINGS apply_deleted_mask = 0"), table).await {
        Err(failure) if failure.code == MAY_SET_NOTHING => clickhouse.select(&query(""), table).await?,
        counted => counted?,
    };
    let count = visible.first().and_then(|visible| visible.rows.parse().ok());
    count.ok_or_else(|| failures::not_an_answer("no number where the rows of a table were counted"))
}

/// A replica that has not fetched everything lacks rows that another has acknowledged.
async fn has_caught_up(clickhouse: &ClickHouse, table: &str) -> Result<(), Failure> {
    let query = "SELECT toUInt8(is_readonly OR is_session_expired OR log_pointer <= log_max_index OR inserts_in_queue > 0) \
                 AS lags FROM system.replicas WHERE database = currentDatabase() AND table = {table:String} FORMAT JSON";
    let replicas: Vec<Replica> = clickhouse.select(query, table).await?;
    if replicas.iter().all(|replica| replica.lags == 0) {
        return Ok(());
    }
    let what =
        format!("the replica of table {table} that answers lags behind; what it lacks may have landed on another");
    Err(Failure::new(Class::Transient, what))
}

fn hidden(table: &str, seen: u64, held: u64) -> Failure {
    let what = format!(
        "table {table} has {held} rows and this ClickHouse user sees {seen} of them, so nobody can tell what is missing; \
         remove the row policy for this user, or whatever else hides rows from it"
    );
    Failure::new(Class::Operator, what)
}

fn several(table: &str, one: &str, other: &str) -> Failure {
    let what = format!(
        "several servers answer at the address of ClickHouse ({one}, {other}) and table {table} is not replicated, so a row \
         that one of them lacks may be on another; give the address of one server"
    );
    Failure::new(Class::Operator, what)
}
