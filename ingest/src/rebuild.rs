//! Aggregate tables that may lack rows of their base: a month of each is made anew from the raw rows and put in the place
//! of the old one. A table and a month go in; its views' targets come out as if each row had been counted once. It never
//! touches the raw rows.
//!
//! Needed where an INSERT landed in the base table, its views are in doubt, and its token is too old to send it again.
//! While it runs nothing else may write to that month: this worker's own INSERTs wait, and those of others are noticed
//! (rows and highest block of the month, running INSERTs), upon which it begins again.

mod lock;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{RwLock, RwLockReadGuard};
use tracing::{info, warn};
use uuid::Uuid;

use crate::retry::Class;
use crate::write::clickhouse::{ClickHouse, quote};
use crate::write::failure::Failure;
use lock::Lock;

/// How often it begins again because somebody else writes.
const TRIES: u32 = 20;
/// Ends the name of a table that takes the place of a month.
const FRESH: &str = "__rebuild";
/// How long it waits for whoever writes.
const PAUSE: Duration = Duration::from_millis(250);

/// Rebuilds of aggregate tables, one at a time.
#[derive(Debug, Default)]
pub struct Rebuilds {
    /// Held for reading by every INSERT.
    gate: RwLock<()>,
    /// When the last finished rebuild of a table's month began.
    begun: Mutex<HashMap<(String, u32), Instant>>,
}

/// A view of a table, and where it writes.
#[derive(Debug, Deserialize)]
struct View {
    name: String,
    select: String,
    target: String,
    /// Partition key of the target.
    key: String,
}

/// What changes when somebody writes to a month.
#[derive(Debug, PartialEq, Eq)]
struct Trace(Bytes);

impl Rebuilds {
    /// Held by every INSERT of this worker while it runs.
    pub async fn writing(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().await
    }

    /// Rebuilds `month` of everything that views of `table` write to; 0 stands for a table without months. A rebuild that
    /// somebody else began after this call counts.
    pub async fn rebuild(&self, clickhouse: &ClickHouse, table: &str, month: u32) -> Result<(), Failure> {
        let asked = Instant::now();
        let _alone = self.gate.write().await;
        let key = (table.to_owned(), month);
        if self.begun.lock().unwrap_or_else(PoisonError::into_inner).get(&key).is_some_and(|begun| *begun >= asked) {
            return Ok(());
        }
        let begun = Instant::now();
        month_of(clickhouse, table, month).await.map(drop)?;
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(key, begun);
        Ok(())
    }
}

/// Rebuilds one month; nobody else of this worker writes meanwhile. Says of how many views.
pub async fn month_of(clickhouse: &ClickHouse, table: &str, month: u32) -> Result<usize, Failure> {
    let views = views(clickhouse, table).await?;
    if views.is_empty() {
        return Ok(0);
    }
    if rows(clickhouse, table, month).await? == 0 {
        return Err(of_nothing(table, month));
    }
    if let Some(view) = views.iter().find(|view| view.key.starts_with("toYYYYMM(") != (month > 0)) {
        return Err(elsewhere(table, month, view));
    }
    let lock = Lock::take(clickhouse, table).await?;
    let rebuilt = patiently(clickhouse, table, month, &views).await;
    let given_back = lock.give_back().await;
    rebuilt.and_then(|views| given_back.map(|()| views))
}

/// Begins again as long as others write to the month, up to a limit.
async fn patiently(clickhouse: &ClickHouse, table: &str, month: u32, views: &[View]) -> Result<usize, Failure> {
    let scratch = Uuid::new_v4().simple().to_string();
    for _ in 0..TRIES {
        if try_month(clickhouse, table, month, views, &scratch).await? {
            info!(table, month, views = views.len(), "aggregates rebuilt from the raw rows");
            return Ok(views.len());
        }
        warn!(table, month, "somebody writes to a month that is being rebuilt; beginning again");
        tokio::time::sleep(PAUSE).await;
    }
    Err(by_hand(table, month, "others write to it all the time"))
}

async fn views(clickhouse: &ClickHouse, table: &str) -> Result<Vec<View>, Failure> {
    let query = "SELECT name, as_select AS select, replaceAll(extract(create_table_query, \
                 '^CREATE MATERIALIZED VIEW [^ ]+ TO (?:[^ .(]+\\\\.)?([^ .(]+)'), '`', '') AS target, \
                 (SELECT groupArray((name, partition_key)) FROM system.tables WHERE database = currentDatabase()) AS keys, \
                 arrayFirst(key -> key.1 = target, keys).2 AS key \
                 FROM system.tables WHERE database = currentDatabase() AND name IN \
                 (SELECT arrayJoin(dependencies_table) FROM system.tables \
                 WHERE database = currentDatabase() AND name = {table:String}) FORMAT JSON";
    clickhouse.select(query, table).await
}

/// Whether nobody wrote meanwhile, so that the month is right now. No table of its own is left behind, after a failure
/// neither, unless ClickHouse does not answer.
async fn try_month(
    clickhouse: &ClickHouse,
    table: &str,
    month: u32,
    views: &[View],
    scratch: &str,
) -> Result<bool, Failure> {
    let outcome = replace(clickhouse, table, month, views, scratch).await;
    for view in views {
        run(clickhouse, &format!("DROP TABLE IF EXISTS {}", quote(&fresh(view, scratch))), &[]).await?;
    }
    outcome
}

async fn replace(
    clickhouse: &ClickHouse,
    table: &str,
    month: u32,
    views: &[View],
    scratch: &str,
) -> Result<bool, Failure> {
    let before = trace(clickhouse, table, month).await?;
    for view in views {
        fill(clickhouse, table, month, view, &fresh(view, scratch)).await?;
    }
    if trace(clickhouse, table, month).await? != before {
        return Ok(false);
    }
    let partition = if month == 0 { "tuple()".to_owned() } else { month.to_string() };
    for view in views {
        let (target, fresh) = (quote(&view.target), fresh(view, scratch));
        let (own, all) = (rows(clickhouse, &fresh, month).await?, rows(clickhouse, &fresh, 0).await?);
        if own != all {
            return Err(elsewhere(table, month, view));
        }
        // ClickHouse replaces no partition by nothing.
        let how = match own {
            0 => format!("DROP PARTITION {partition}"),
            _ => format!("REPLACE PARTITION {partition} FROM {}", quote(&fresh)),
        };
        run(clickhouse, &format!("ALTER TABLE {target} {how}"), &[]).await?;
    }
    Ok(trace(clickhouse, table, month).await? == before)
}

/// Computes a view over the month's raw rows into a table of its own.
async fn fill(clickhouse: &ClickHouse, table: &str, month: u32, view: &View, fresh: &str) -> Result<(), Failure> {
    if view.target.is_empty() {
        return Err(by_hand(table, month, &format!("view {} has no table of its own (TO)", view.name)));
    }
    let (target, fresh) = (quote(&view.target), quote(fresh));
    run(clickhouse, &format!("CREATE TABLE {fresh} AS {target}"), &[]).await?;
    let filter = format!("{{'{table}': 'toUInt32OrZero(_partition_id) = {month}'}}");
    let filter = if month == 0 { String::new() } else { filter };
    let settings = [("additional_table_filters", if filter.is_empty() { "{}".to_owned() } else { filter })];
    run(clickhouse, &format!("INSERT INTO {fresh} {}", view.select), &settings).await
}

/// Each rebuild has tables of its own: one that was killed may have left some behind.
fn fresh(view: &View, scratch: &str) -> String {
    format!("{}{FRESH}_{scratch}", view.target)
}

/// How many rows a table holds of a month.
async fn rows(clickhouse: &ClickHouse, table: &str, month: u32) -> Result<u64, Failure> {
    #[derive(Deserialize)]
    struct Held {
        rows: String,
    }
    let query = format!(
        "SELECT toString(sum(rows)) AS rows FROM system.parts WHERE active AND database = currentDatabase() \
         AND table = {{table:String}} AND ({month} = 0 OR toUInt32OrZero(partition_id) = {month}) FORMAT JSON"
    );
    let held: Vec<Held> = clickhouse.select(&query, table).await?;
    Ok(held.first().and_then(|held| held.rows.parse().ok()).unwrap_or(0))
}

async fn trace(clickhouse: &ClickHouse, table: &str, month: u32) -> Result<Trace, Failure> {
    let query = "SELECT (SELECT (sum(rows), max(max_block_number)) FROM system.parts WHERE active \
                 AND database = currentDatabase() AND table = {table:String} \
                 AND ({month:UInt32} = 0 OR toUInt32OrZero(partition_id) = {month:UInt32})), \
                 (SELECT count() FROM system.processes WHERE query_kind = 'Insert' \
                 AND current_database = currentDatabase() AND position(query, {table:String}) > 0 \
                 AND position(query, '__rebuild_') = 0) FORMAT TSV";
    let parameters = [("param_table", table.to_owned()), ("param_month", month.to_string())];
    Ok(Trace(clickhouse.query(query, &parameters).await?))
}

async fn run(clickhouse: &ClickHouse, query: &str, settings: &[(&str, String)]) -> Result<(), Failure> {
    clickhouse.query(query, settings).await.map(drop)
}

/// A month whose raw rows are gone may have aggregates that are meant to outlive them.
fn of_nothing(table: &str, month: u32) -> Failure {
    let what = format!(
        "{table} holds no rows of month {month}, so its aggregates stay as they are; if they are to go as well, drop that \
         partition of theirs"
    );
    Failure { class: Class::Operator, what, code: String::new(), row: None }
}

/// A month of the table is not a partition of what its view writes to.
fn elsewhere(table: &str, month: u32, view: &View) -> Failure {
    let View { name, target, key, .. } = view;
    let what = format!(
        "the aggregates of {table} in partition {month} have to be rebuilt, and view {name} puts its rows into other partitions \
         of {target} (PARTITION BY {key}); rebuild {target} by hand, or partition it by the same month as {table}"
    );
    Failure { class: Class::Operator, what, code: String::new(), row: None }
}

fn by_hand(table: &str, month: u32, why: &str) -> Failure {
    let what = format!(
        "the aggregates of {table} in month {month} have to be rebuilt, and {why}; stop the other writers, then \
         `sluice ingest rebuild` does it"
    );
    Failure { class: Class::Operator, what, code: String::new(), row: None }
}
