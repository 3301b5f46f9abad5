//! Rebuilds one month: computes each target from the raw rows into a scratch table, which then replaces the old month.
//! It restarts if others write, and leaves no scratch table behind.

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

/// Maximum attempts; another process's write ends an attempt.
const MAX_ATTEMPTS: u32 = 20;
/// ClickHouse's code for a query whose ID is that of a running query.
const SENT_TWICE: u32 = 216;
/// How long to wait for the response after ClickHouse should have ended the statement.
const GRACE: Duration = Duration::from_secs(10);

/// Rebuilds one month of everything that views of `table` write to, and returns the number of tables rebuilt. A `month`
/// of 0 stands for a table without months. No other task of this worker may write to the table during the call.
/// `timeout` bounds each statement; statements that are still running when the call ends are killed.
pub async fn rebuild_month(
    clickhouse: &ClickHouse,
    table: &str,
    month: u32,
    timeout: Duration,
) -> Result<usize, Failure> {
    let graph = ViewGraph::read(clickhouse, table).await?;
    graph.check().map_err(|unsuitable| Failure::new(Class::Operator, unsuitable.to_string()))?;
    if graph.views.is_empty() {
        return Ok(0);
    }
    // Aggregates would lack hidden rows.
    visibility::check(clickhouse, table).await?;
    let (base, scratch) = (TableName::new(clickhouse.database(), table), Uuid::new_v4().simple().to_string());
    let prefix = format!("sluice:rebuild:{scratch}");
    // ClickHouse ends a statement shortly before the client stops waiting for it.
    let named = clickhouse.with_query_prefix(&prefix, timeout + GRACE);
    let rebuild = Rebuild { clickhouse: &named, base, month, graph, scratch, timeout };
    rebuild.check().await?;
    let lock = Lock::acquire(&named, &rebuild.stored(), &rebuild.scratch).await?;
    let running = Running::new(clickhouse, prefix);
    let outcome = rebuild.run(&lock).await;
    running.end().await?;
    let released = lock.release().await;
    outcome.and(released).map(|()| rebuild.targets().count())
}

impl Rebuild<'_> {
    /// Retries while others write to the month, up to a limit.
    async fn run(&self, lock: &Lock<'_>) -> Result<(), Failure> {
        let Self { base, month, .. } = self;
        self.drop_leftovers().await?;
        for _ in 0..MAX_ATTEMPTS {
            if self.attempt(lock).await? {
                info!(table = %base, month, targets = self.targets().count(), "aggregates rebuilt from the raw rows");
                return Ok(());
            }
            warn!(table = %base, month, "another process writes to a month that is being rebuilt; restarting the rebuild");
            tokio::time::sleep(PAUSE).await;
        }
        Err(self.needs_operator("other processes keep writing to it"))
    }

    /// Returns `true` if nothing else wrote to the month, so that it is now correct. Drops the scratch tables even
    /// after a failure, unless ClickHouse does not respond.
    async fn attempt(&self, lock: &Lock<'_>) -> Result<bool, Failure> {
        let outcome = self.replace_all(lock).await;
        for target in self.targets() {
            drop_table(self.clickhouse, &self.scratch_table(&target.name)).await?;
        }
        outcome
    }

    async fn replace_all(&self, lock: &Lock<'_>) -> Result<bool, Failure> {
        let before = self.base_state().await?;
        // An INSERT that began earlier may have written to the base and not yet to the targets.
        self.wait_for_writers(lock).await?;
        let mut replaced = Vec::new();
        for target in self.targets() {
            self.fill(target).await?;
            lock.heartbeat().await?;
            if self.base_state().await? != before {
                return Ok(false);
            }
            replaced.push(self.replace(target).await?);
        }
        reached(Failpoint::Rebuilt);
        self.wait_for_writers(lock).await?;
        for replacement in &replaced {
            if self.is_written_since(replacement).await? {
                return Ok(false);
            }
        }
        Ok(self.base_state().await? == before)
    }

    /// Runs the SELECT of every view that writes to `target` over the month's rows of its source, into a scratch table.
    async fn fill(&self, target: &Table) -> Result<(), Failure> {
        let (Self { clickhouse, month, .. }, scratch) = (self, self.scratch_table(&target.name));
        run(clickhouse, &format!("CREATE TABLE {scratch} AS {}", target.name), &[]).await?;
        for view in self.views_into(&target.name) {
            let source = format!("{}.{}", view.source.database, view.source.name);
            let filter = match month {
                0 => "{}".to_owned(),
                month => format!("{{{}: 'toUInt32OrZero(_partition_id) = {month}'}}", quote_string(&source)),
            };
            // Equal blocks must each count, and deleted rows must not.
            let settings = [
                ("additional_table_filters", filter),
                ("insert_deduplicate", "0".to_owned()),
                ("apply_deleted_mask", "1".to_owned()),
                ("max_execution_time", self.timeout.as_secs().to_string()),
                ("allow_custom_error_code_in_throwif", "1".to_owned()),
            ];
            let repetition_guard = self.repetition_guard(&scratch).await?;
            let statement = format!("INSERT INTO {scratch} SELECT * FROM ({}){repetition_guard}", view.select);
            let started = Instant::now();
            let filled = run(clickhouse, &statement, &settings).await;
            let is_timed_out = started.elapsed() >= self.timeout;
            filled.map_err(|failure| {
                if is_timed_out { self.timed_out(view) } else { failures::in_rebuild(failure, &view.name) }
            })?;
        }
        Ok(())
    }

    /// Returns a condition that makes the INSERT fail if a proxy has already sent it: the table then has other parts.
    /// While the first INSERT runs, ClickHouse refuses the second because of its query ID, with the same code.
    async fn repetition_guard(&self, scratch: &TableName) -> Result<String, Failure> {
        if is_injected(Fault::AllowRepeatedFill) {
            return Ok(String::new());
        }
        let (query, current) = (self.highest_block_query(scratch), self.highest_block(scratch).await?);
        Ok(format!(" WHERE NOT throwIf(({query}) != {current}, 'sent twice', toInt16({SENT_TWICE}))"))
    }

    /// Replaces the month of `target` with the contents of its scratch table.
    async fn replace(&self, target: &Table) -> Result<Replaced, Failure> {
        let scratch = self.scratch_table(&target.name);
        let (month_rows, total_rows) = (self.rows(&scratch, self.month).await?, self.rows(&scratch, 0).await?);
        if month_rows != total_rows {
            return Err(self.partition_mismatch(target));
        }
        let highest_block = self.highest_block(&target.name).await?;
        let partition = if self.month == 0 { "tuple()".to_owned() } else { self.month.to_string() };
        // ClickHouse cannot replace a partition from an empty table.
        let action = match month_rows {
            0 => format!("DROP PARTITION {partition}"),
            _ => format!("REPLACE PARTITION {partition} FROM {scratch}"),
        };
        run(self.clickhouse, &format!("ALTER TABLE {} {action}", target.name), &[]).await?;
        Ok(Replaced { target: target.name.clone(), scratch, highest_block })
    }

    /// Drops the scratch tables of killed rebuilds: while the lock is held, no other rebuild of these targets runs.
    async fn drop_leftovers(&self) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Leftover {
            name: String,
        }
        for TableName { database, name } in self.targets().map(|target| &target.name) {
            let query = format!(
                "SELECT name FROM system.tables WHERE database = {} AND startsWith(name, {}) FORMAT JSON",
                quote_string(database),
                quote_string(&format!("{name}{SCRATCH}_"))
            );
            let leftovers: Vec<Leftover> = self.clickhouse.select(&query, "").await?;
            for Leftover { name } in leftovers {
                drop_table(self.clickhouse, &TableName::new(database, name)).await?;
            }
        }
        Ok(())
    }

    fn timed_out(&self, view: &View) -> Failure {
        let (Self { base, month, timeout, .. }, View { name, .. }) = (self, view);
        let message = format!(
            "view {name} takes longer than {} s for month {month} of {base}, so its aggregates cannot be rebuilt; raise \
             ingest.rebuild_timeout",
            timeout.as_secs()
        );
        Failure::new(Class::Operator, message)
    }

    fn needs_operator(&self, why: &str) -> Failure {
        let Self { base, month, .. } = self;
        let message = format!(
            "the aggregates of {base} in month {month} must be rebuilt, but {why}; stop the other writers, then run \
             `sluice ingest rebuild`"
        );
        Failure::new(Class::Operator, message)
    }
}
