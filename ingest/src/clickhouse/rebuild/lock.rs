//! Allows one rebuild of a table at a time across all workers and operators: two rebuilds that replace the same
//! partition at once would leave the rows of both. A lock is one table per target, named with the suffix
//! [`super::statement::SCRATCH`], which only one process can create. The owner writes to it as a heartbeat and releases
//! the lock by dropping it; the lock of a dead owner is revoked.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::warn;

use super::statement::{SCRATCH, drop_table, run};
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::quote_string;
use crate::failure::{Class, Failure};

/// ClickHouse's name of the error for a table that exists already.
const ALREADY_EXISTS: &str = "table_already_exists";
/// How long to wait for another process's rebuild.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(250);
/// Consecutive checks that must find an old lock and no running rebuild before its owner counts as dead: nothing runs
/// between two statements of a rebuild either.
const ORPHAN_CHECKS: u32 = 8;

/// The right to rebuild.
pub(super) struct Lock<'a> {
    clickhouse: &'a ClickHouse,
    owner: String,
    tables: Vec<TableName>,
}

#[derive(Deserialize)]
struct LockState {
    is_orphan: u8,
}

impl<'a> Lock<'a> {
    /// Waits for the locks of all tables, always in the same order, so that no deadlock can arise.
    pub(super) async fn acquire(
        clickhouse: &'a ClickHouse,
        tables: &[TableName],
        owner: &str,
    ) -> Result<Self, Failure> {
        let mut names: Vec<_> =
            tables.iter().map(|table| TableName::new(&table.database, format!("{}{SCRATCH}", table.name))).collect();
        names.sort();
        let (mut lock, deadline) =
            (Self { clickhouse, owner: owner.to_owned(), tables: Vec::new() }, Instant::now() + TIMEOUT);
        for name in names {
            let acquired = lock.acquire_one(&name, deadline).await;
            lock.tables.extend(acquired.is_ok().then_some(name));
            let outcome = match acquired {
                Ok(()) => lock.heartbeat().await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = outcome {
                lock.release().await?;
                return Err(failure);
            }
        }
        Ok(lock)
    }

    async fn acquire_one(&self, table: &TableName, deadline: Instant) -> Result<(), Failure> {
        let create = format!("CREATE TABLE {table} (owner String, at DateTime DEFAULT now()) ENGINE = Memory");
        let mut orphan_checks = 0;
        loop {
            match run(self.clickhouse, &create, &[]).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code != ALREADY_EXISTS => return Err(failure),
                Err(_) if Instant::now() >= deadline => return Err(busy(table)),
                Err(_) => orphan_checks = if is_orphan(self.clickhouse, table).await? { orphan_checks + 1 } else { 0 },
            }
            if orphan_checks >= ORPHAN_CHECKS {
                warn!(%table, "the owner of a rebuild lock has died without releasing it; revoking the lock");
                drop_table(self.clickhouse, table).await?;
                orphan_checks = 0;
            }
            tokio::time::sleep(PAUSE).await;
            self.heartbeat().await?;
        }
    }

    /// Records that the owner is alive. Fails if the lock was revoked.
    pub(super) async fn heartbeat(&self) -> Result<(), Failure> {
        for table in &self.tables {
            let owner = quote_string(&self.owner);
            run(self.clickhouse, &format!("INSERT INTO {table} (owner) VALUES ({owner})"), &[]).await?;
            let query = format!("SELECT count() > 0 AND uniqExact(owner) = 1 FROM {table} FORMAT TSV");
            let body = self.clickhouse.query(&query, &[]).await?;
            if body.trim_ascii() != b"1" {
                return Err(busy(table));
            }
        }
        Ok(())
    }

    /// Releases the lock.
    pub(super) async fn release(self) -> Result<(), Failure> {
        for table in &self.tables {
            drop_table(self.clickhouse, table).await?;
        }
        Ok(())
    }
}

/// Whether no rebuild runs and the owner has sent no heartbeat for longer than a rebuild pauses between statements. A
/// heartbeat in the future (the server's clock was set back) does not count.
async fn is_orphan(clickhouse: &ClickHouse, table: &TableName) -> Result<bool, Failure> {
    let query = format!(
        "SELECT (SELECT max(at) FROM {table}) NOT BETWEEN now() - 10 AND now() AND (SELECT count() FROM system.tables \
         WHERE database = {} AND name = {} AND metadata_modification_time NOT BETWEEN now() - 10 AND now()) = 1 \
         AND (SELECT count() FROM system.processes WHERE position(query, '__rebuild_') > 0 \
         AND position(query, 'system.processes') = 0) = 0 AS is_orphan FORMAT JSON",
        quote_string(&table.database),
        quote_string(&table.name)
    );
    let states: Result<Vec<LockState>, _> = clickhouse.select(&query, "").await;
    match states {
        Ok(states) => Ok(states.first().is_some_and(|state| state.is_orphan == 1)),
        // The lock was released in the meantime.
        Err(failure) if failure.code == "unknown_table" => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn busy(table: &TableName) -> Failure {
    let message =
        format!("another process rebuilds the same aggregates ({table}); wait for it to finish, then try again");
    Failure::new(Class::Transient, message)
}
