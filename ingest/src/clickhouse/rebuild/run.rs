//! Rebuilds one month: its targets are computed from the raw rows, each into a table of its own, and put in place of the old
//! month. It begins again while others write, and leaves no table of its own behind.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::{info, warn};
use uuid::Uuid;

use super::abandoned::Running;
use super::lock::Lock;
use super::scope::Rebuild;
use super::statement::{PAUSE, SCRATCH, drop_table, run};
use super::writes::Replaced;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::quote_string;
use crate::clickhouse::view_graph::{Table, View, ViewGraph};
use crate::clickhouse::{failures, visibility};
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, Fault, is_injected, reached};

/// How often it begins again because somebody else writes.
const TRIES: u32 = 20;
/// ClickHouse's code for a query whose id is that of one that runs.
const SENT_TWICE: u32 = 216;
/// For how long an answer is waited for after ClickHouse should have given up.
const GRACE: Duration = Duration::from_secs(10);

/// Rebuilds one month; nobody else of this worker writes to the table meanwhile. Says of how many tables. 0 stands for a
/// table without months. A statement that takes longer than `timeout` is ended, and so is one that nobody waits for any more.
pub async fn rebuild_month(
    clickhouse: &ClickHouse,
    table: &str,
    month: u32,
    timeout: Duration,
) -> Result<usize, Failure> {
    let graph = ViewGraph::read(clickhouse, table).await?;
    graph.check().map_err(|unfit| Failure::new(Class::Operator, unfit.to_string()))?;
    if graph.views.is_empty() {
        return Ok(0);
    }
    // Aggregates would lack what is hidden.
    visibility::check(clickhouse, table).await?;
    let (base, scratch) = (TableName::new(clickhouse.database(), table), Uuid::new_v4().simple().to_string());
    let prefix = format!("sluice:rebuild:{scratch}");
    // ClickHouse ends a statement a little earlier than it is no longer waited for.
    let named = clickhouse.with_query_prefix(&prefix, timeout + GRACE);
    let rebuild = Rebuild { clickhouse: &named, base, month, graph, scratch, timeout };
    rebuild.check().await?;
    let lock = Lock::acquire(&named, &rebuild.stored(), &rebuild.scratch).await?;
    let running = Running::new(clickhouse, prefix);
    let outcome = rebuild.run(&lock).await;
    running.end().await?;
    let given_back = lock.release().await;
    outcome.and(given_back).map(|()| rebuild.targets().count())
}

impl Rebuild<'_> {
    /// Begins again as long as others write to the month, up to a limit.
    async fn run(&self, lock: &Lock<'_>) -> Result<(), Failure> {
        let Self { base, month, .. } = self;
        self.drop_left_behind().await?;
        for _ in 0..TRIES {
            if self.attempt(lock).await? {
                info!(table = %base, month, targets = self.targets().count(), "aggregates rebuilt from the raw rows");
                return Ok(());
            }
            warn!(table = %base, month, "somebody writes to a month that is being rebuilt; beginning again");
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.by_hand("others write to it all the time"))
    }

    /// Whether nobody wrote meanwhile, so that the month is right now. No table of its own is left behind, after a failure
    /// neither, unless ClickHouse does not answer.
    async fn attempt(&self, lock: &Lock<'_>) -> Result<bool, Failure> {
        let outcome = self.replace_all(lock).await;
        for target in self.targets() {
            drop_table(self.clickhouse, &self.scratch_table(&target.name)).await?;
        }
        outcome
    }

    async fn replace_all(&self, lock: &Lock<'_>) -> Result<bool, Failure> {
        let before = self.trace().await?;
        // Whoever began before this may have put its rows into the base and not yet into the targets.
        self.wait_for_writers(lock).await?;
        let mut replaced = Vec::new();
        for target in self.targets() {
            self.fill(target).await?;
            lock.heartbeat().await?;
            if self.trace().await? != before {
                return Ok(false);
            }
            replaced.push(self.replace(target).await?);
        }
        reached(Failpoint::Rebuilt);
        self.wait_for_writers(lock).await?;
        for one in &replaced {
            if self.is_written_since(one).await? {
                return Ok(false);
            }
        }
        Ok(self.trace().await? == before)
    }

    /// Computes all views that write to a table over the month's rows of their sources, into a table of its own.
    async fn fill(&self, target: &Table) -> Result<(), Failure> {
        let (Self { clickhouse, month, .. }, fresh) = (self, self.scratch_table(&target.name));
        run(clickhouse, &format!("CREATE TABLE {fresh} AS {}", target.name), &[]).await?;
        for view in self.views_into(&target.name) {
            let source = format!("{}.{}", view.source.database, view.source.name);
            let filter = match month {
                0 => "{}".to_owned(),
                month => format!("{{{}: 'toUInt32OrZero(_partition_id) = {month}'}}", quote_string(&source)),
            };
            // Two equal blocks are two, and rows that were deleted are none.
            let settings = [
                ("additional_table_filters", filter),
                ("insert_deduplicate", "0".to_owned()),
                ("apply_deleted_mask", "1".to_owned()),
                ("max_execution_time", self.timeout.as_secs().to_string()),
                ("allow_custom_error_code_in_throwif", "1".to_owned()),
            ];
            let repetition_guard = self.repetition_guard(&fresh).await?;
            let statement = format!("INSERT INTO {fresh} SELECT * FROM ({}){repetition_guard}", view.select);
            let started = Instant::now();
            let filled = run(clickhouse, &statement, &settings).await;
            let is_late = started.elapsed() >= self.timeout;
            filled.map_err(
                |failure| if is_late { self.too_long(view) } else { failures::in_rebuild(failure, &view.name) },
            )?;
        }
        Ok(())
    }

    /// What makes an INSERT fail if somebody between has sent it already: the table has other parts by then. While the first
    /// one runs, ClickHouse refuses the second for its id, with the same code.
    async fn repetition_guard(&self, fresh: &TableName) -> Result<String, Failure> {
        if is_injected(Fault::AllowRepeatedFill) {
            return Ok(String::new());
        }
        let (question, now) = (self.highest(fresh), self.highest_block(fresh).await?);
        Ok(format!(" WHERE NOT throwIf(({question}) != {now}, 'sent twice', toInt16({SENT_TWICE}))"))
    }

    /// Puts what was computed in the place of the month.
    async fn replace(&self, target: &Table) -> Result<Replaced, Failure> {
        let fresh = self.scratch_table(&target.name);
        let (own, all) = (self.rows(&fresh, self.month).await?, self.rows(&fresh, 0).await?);
        if own != all {
            return Err(self.elsewhere(target));
        }
        let highest = self.highest_block(&target.name).await?;
        let partition = if self.month == 0 { "tuple()".to_owned() } else { self.month.to_string() };
        // ClickHouse replaces no partition by nothing.
        let how = match own {
            0 => format!("DROP PARTITION {partition}"),
            _ => format!("REPLACE PARTITION {partition} FROM {fresh}"),
        };
        run(self.clickhouse, &format!("ALTER TABLE {} {how}", target.name), &[]).await?;
        Ok(Replaced { target: target.name.clone(), fresh, highest })
    }

    /// Drops the tables of rebuilds that were killed: nobody else rebuilds these now.
    async fn drop_left_behind(&self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Left {
            name: String,
        }
        for TableName { database, name } in self.targets().map(|target| &target.name) {
            let query = format!(
                "SELECT name FROM system.tables WHERE database = {} AND startsWith(name, {}) FORMAT JSON",
                quote_string(database),
                quote_string(&format!("{name}{SCRATCH}_"))
            );
            let left: Vec<Left> = self.clickhouse.select(&query, "").await?;
            for Left { name } in left {
                drop_table(self.clickhouse, &TableName::new(database, name)).await?;
            }
        }
        Ok(())
    }

    fn too_long(&self, view: &View) -> Failure {
        let (Self { base, month, timeout, .. }, View { name, .. }) = (self, view);
        let what = format!(
            "view {name} takes longer than {} s for month {month} of {base}, so its aggregates cannot be rebuilt; raise \
             ingest.rebuild_timeout",
            timeout.as_secs()
        );
        Failure::new(Class::Operator, what)
    }

    fn by_hand(&self, why: &str) -> Failure {
        let Self { base, month, .. } = self;
        let what = format!(
            "the aggregates of {base} in month {month} have to be rebuilt, and {why}; stop the other writers, then \
             `sluice ingest rebuild` does it"
        );
        Failure::new(Class::Operator, what)
    }
}
