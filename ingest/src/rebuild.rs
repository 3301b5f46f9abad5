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

use crate::literal;
use crate::retry::Class;
use crate::write::clickhouse::{ClickHouse, quote};
use crate::write::failure::Failure;
use lock::Lock;

/// Where a materialized view writes to, by its row of `system.tables`; empty where it has no table of its own.
const VIEW_TARGET: &str = "replaceAll(extract(create_table_query, \
    '^CREATE MATERIALIZED VIEW [^ ]+ TO (?:[^ .(]+\\\\.)?([^ .(]+)'), '`', '')";
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
    let scratch = Uuid::new_v4().simple().to_string();
    let rebuild = Rebuild { clickhouse, table, month, views, scratch };
    rebuild.check().await?;
    let lock = Lock::take(clickhouse, table).await?;
    let outcome = rebuild.run().await;
    let given_back = lock.give_back().await;
    outcome.and(given_back).map(|()| rebuild.views.len())
}

async fn views(clickhouse: &ClickHouse, table: &str) -> Result<Vec<View>, Failure> {
    let query = format!(
        "WITH (SELECT groupArray((name, partition_key)) FROM system.tables WHERE database = currentDatabase()) AS keys \
         SELECT name, as_select AS select, {VIEW_TARGET} AS target, arrayFirst(key -> key.1 = target, keys).2 AS key \
         FROM system.tables WHERE database = currentDatabase() AND name IN \
         (SELECT arrayJoin(dependencies_table) FROM system.tables \
         WHERE database = currentDatabase() AND name = {{table:String}}) FORMAT JSON"
    );
    clickhouse.select(&query, table).await
}

/// One month of everything that views of a table write to.
struct Rebuild<'a> {
    clickhouse: &'a ClickHouse,
    table: &'a str,
    /// 0 stands for a table without months.
    month: u32,
    views: Vec<View>,
    /// Ends the names of the tables that take the place of the month: each rebuild has some of its own.
    scratch: String,
}

impl Rebuild<'_> {
    /// Fails where a rebuild could do no good.
    async fn check(&self) -> Result<(), Failure> {
        if self.rows(self.table, self.month).await? == 0 {
            return Err(self.of_nothing());
        }
        for view in &self.views {
            if view.target.is_empty() {
                return Err(self.by_hand(&format!("view {} has no table of its own (TO)", view.name)));
            }
            if view.key.starts_with("toYYYYMM(") != (self.month > 0) {
                return Err(self.elsewhere(view));
            }
        }
        Ok(())
    }

    /// Begins again as long as others write to the month, up to a limit.
    async fn run(&self) -> Result<(), Failure> {
        let Self { table, month, .. } = self;
        self.drop_left_behind().await?;
        for _ in 0..TRIES {
            if self.attempt().await? {
                info!(table, month, views = self.views.len(), "aggregates rebuilt from the raw rows");
                return Ok(());
            }
            warn!(table, month, "somebody writes to a month that is being rebuilt; beginning again");
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.by_hand("others write to it all the time"))
    }

    /// Whether nobody wrote meanwhile, so that the month is right now. No table of its own is left behind, after a failure
    /// neither, unless ClickHouse does not answer.
    async fn attempt(&self) -> Result<bool, Failure> {
        let outcome = self.replace().await;
        for view in &self.views {
            drop_table(self.clickhouse, &self.fresh(view)).await?;
        }
        outcome
    }

    async fn replace(&self) -> Result<bool, Failure> {
        let before = self.trace().await?;
        for view in &self.views {
            self.fill(view).await?;
        }
        if self.trace().await? != before {
            return Ok(false);
        }
        let partition = if self.month == 0 { "tuple()".to_owned() } else { self.month.to_string() };
        for view in &self.views {
            let (target, fresh) = (quote(&view.target), self.fresh(view));
            let (own, all) = (self.rows(&fresh, self.month).await?, self.rows(&fresh, 0).await?);
            if own != all {
                return Err(self.elsewhere(view));
            }
            // ClickHouse replaces no partition by nothing.
            let how = match own {
                0 => format!("DROP PARTITION {partition}"),
                _ => format!("REPLACE PARTITION {partition} FROM {}", quote(&fresh)),
            };
            run(self.clickhouse, &format!("ALTER TABLE {target} {how}"), &[]).await?;
        }
        Ok(self.trace().await? == before)
    }

    /// Computes a view over the month's raw rows into a table of its own.
    async fn fill(&self, view: &View) -> Result<(), Failure> {
        let Self { clickhouse, table, month, .. } = self;
        let (target, fresh) = (quote(&view.target), quote(&self.fresh(view)));
        run(clickhouse, &format!("CREATE TABLE {fresh} AS {target}"), &[]).await?;
        let filter = match month {
            0 => "{}".to_owned(),
            month => format!("{{{}: 'toUInt32OrZero(_partition_id) = {month}'}}", literal::string(table)),
        };
        let settings = [("additional_table_filters", filter)];
        run(clickhouse, &format!("INSERT INTO {fresh} {}", view.select), &settings).await
    }

    fn fresh(&self, view: &View) -> String {
        format!("{}{FRESH}_{}", view.target, self.scratch)
    }

    /// Drops the tables of rebuilds that were killed: nobody else rebuilds now.
    async fn drop_left_behind(&self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Left {
            name: String,
        }
        let query = "SELECT name FROM system.tables WHERE database = currentDatabase() \
                     AND startsWith(name, {table:String}) FORMAT JSON";
        for view in &self.views {
            let left: Vec<Left> = self.clickhouse.select(query, &format!("{}{FRESH}_", view.target)).await?;
            for Left { name } in left {
                drop_table(self.clickhouse, &name).await?;
            }
        }
        Ok(())
    }

    /// How many rows a table holds of a month.
    async fn rows(&self, table: &str, month: u32) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Held {
            rows: String,
        }
        let query = format!(
            "SELECT toString(sum(rows)) AS rows FROM system.parts WHERE active AND database = currentDatabase() \
             AND table = {{table:String}} AND ({month} = 0 OR toUInt32OrZero(partition_id) = {month}) FORMAT JSON"
        );
        let held: Vec<Held> = self.clickhouse.select(&query, table).await?;
        Ok(held.first().and_then(|held| held.rows.parse().ok()).unwrap_or(0))
    }

    async fn trace(&self) -> Result<Trace, Failure> {
        let query = "SELECT (SELECT (sum(rows), max(max_block_number)) FROM system.parts WHERE active \
                     AND database = currentDatabase() AND table = {table:String} \
                     AND ({month:UInt32} = 0 OR toUInt32OrZero(partition_id) = {month:UInt32})), \
                     (SELECT count() FROM system.processes WHERE query_kind = 'Insert' \
                     AND current_database = currentDatabase() AND position(query, {table:String}) > 0 \
                     AND position(query, '__rebuild_') = 0) FORMAT TSV";
        let parameters = [("param_table", self.table.to_owned()), ("param_month", self.month.to_string())];
        Ok(Trace(self.clickhouse.query(query, &parameters).await?))
    }

    /// A month whose raw rows are gone may have aggregates that are meant to outlive them.
    fn of_nothing(&self) -> Failure {
        let Self { table, month, .. } = self;
        let what = format!(
            "{table} holds no rows of month {month}, so its aggregates stay as they are; if they are to go as well, drop \
             that partition of theirs"
        );
        Failure::new(Class::Operator, what)
    }

    /// A month of the table is not a partition of what its view writes to.
    fn elsewhere(&self, view: &View) -> Failure {
        let (Self { table, month, .. }, View { name, target, key, .. }) = (self, view);
        let what = format!(
            "the aggregates of {table} in partition {month} have to be rebuilt, and view {name} puts its rows into other \
             partitions of {target} (PARTITION BY {key}); rebuild {target} by hand, or partition it by the same month as \
             {table}"
        );
        Failure::new(Class::Operator, what)
    }

    fn by_hand(&self, why: &str) -> Failure {
        let Self { table, month, .. } = self;
        let what = format!(
            "the aggregates of {table} in month {month} have to be rebuilt, and {why}; stop the other writers, then \
             `sluice ingest rebuild` does it"
        );
        Failure::new(Class::Operator, what)
    }
}

async fn run(clickhouse: &ClickHouse, query: &str, settings: &[(&str, String)]) -> Result<(), Failure> {
    clickhouse.query(query, settings).await.map(drop)
}

async fn drop_table(clickhouse: &ClickHouse, name: &str) -> Result<(), Failure> {
    run(clickhouse, &format!("DROP TABLE IF EXISTS {}", quote(name)), &[]).await
}
