//! One rebuild of a table at a time, among all workers and operators: two that replace the same partition at once leave the
//! rows of both there.
//! Tables go in; the right to rebuild them comes out, as a table of each one's name plus [`super::statement::SCRATCH`], which only one can
//! create. Its owner writes to it again and again. It is given back by dropping it; one whose owner died is taken away.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::warn;

use super::statement::{SCRATCH, drop_table, run};
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::quote_string;
use crate::failure::{Class, Failure};

/// ClickHouse's name for there being such a table already.
const EXISTS: &str = "table_already_exists";
/// How long somebody else's rebuild is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it is over.
const PAUSE: Duration = Duration::from_millis(250);
/// Looks in a row at an old lock that find nothing of a rebuild running, until its owner counts as dead: between two
/// statements nothing runs either.
const LOOKS: u32 = 8;

/// The right to rebuild.
pub(super) struct Lock<'a> {
    clickhouse: &'a ClickHouse,
    owner: String,
    tables: Vec<TableName>,
}

#[derive(Deserialize)]
struct SeenAssignments {
    is_orphan: u8,
}

impl<'a> Lock<'a> {
    /// Waits for the locks of all tables, always in the same order, so that nobody waits in a circle.
    pub(super) async fn acquire(
        clickhouse: &'a ClickHouse,
        tables: &[TableName],
        owner: &str,
    ) -> Result<Self, Failure> {
        let mut names: Vec<_> =
            tables.iter().map(|table| TableName::new(&table.database, format!("{}{SCRATCH}", table.name))).collect();
        names.sort();
        let (mut lock, until) =
            (Self { clickhouse, owner: owner.to_owned(), tables: Vec::new() }, Instant::now() + PATIENCE);
        for name in names {
            let taken = lock.acquire_one(&name, until).await;
            lock.tables.extend(taken.is_ok().then_some(name));
            let held = match taken {
                Ok(()) => lock.heartbeat().await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = held {
                lock.release().await?;
                return Err(failure);
            }
        }
        Ok(lock)
    }

    async fn acquire_one(&self, table: &TableName, until: Instant) -> Result<(), Failure> {
        let create = format!("CREATE TABLE {table} (owner String, at DateTime DEFAULT now()) ENGINE = Memory");
        let mut looks = 0;
        loop {
            match run(self.clickhouse, &create, &[]).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code != EXISTS => return Err(failure),
                Err(_) if Instant::now() >= until => return Err(busy(table)),
                Err(_) => looks = if is_orphan(self.clickhouse, table).await? { looks + 1 } else { 0 },
            }
            if looks >= LOOKS {
                warn!(%table, "whoever rebuilt last has not given its lock back; it is taken away");
                drop_table(self.clickhouse, table).await?;
                looks = 0;
            }
            tokio::time::sleep(PAUSE).await;
            self.heartbeat().await?;
        }
    }

    /// Says that the owner lives. Fails if the lock was taken away.
    pub(super) async fn heartbeat(&self) -> Result<(), Failure> {
        for table in &self.tables {
            let owner = quote_string(&self.owner);
            run(self.clickhouse, &format!("INSERT INTO {table} (owner) VALUES ({owner})"), &[]).await?;
            let query = format!("SELECT count() > 0 AND uniqExact(owner) = 1 FROM {table} FORMAT TSV");
            let answer = self.clickhouse.query(&query, &[]).await?;
            if answer.trim_ascii() != b"1" {
                return Err(busy(table));
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) async fn release(self) -> Result<(), Failure> {
        for table in &self.tables {
            drop_table(self.clickhouse, table).await?;
        }
        Ok(())
    }
}

/// Whether the owner of a lock has been silent for longer than between two statements of a rebuild, or spoke in the
/// future (the server's clock was set back), and none runs.
async fn is_orphan(clickhouse: &ClickHouse, table: &TableName) -> Result<bool, Failure> {
    let query = format!(
        "SELECT (SELECT max(at) FROM {table}) NOT BETWEEN now() - 10 AND now() AND (SELECT count() FROM system.tables \
         WHERE database = {} AND name = {} AND metadata_modification_time NOT BETWEEN now() - 10 AND now()) = 1 \
         AND (SELECT count() FROM system.processes WHERE position(query, '__rebuild_') > 0 \
         AND position(query, 'system.processes') = 0) = 0 AS is_orphan FORMAT JSON",
        quote_string(&table.database),
        quote_string(&table.name)
    );
    let seen: Result<Vec<SeenAssignments>, _> = clickhouse.select(&query, "").await;
    match seen {
        Ok(seen) => Ok(seen.first().is_some_and(|seen| seen.is_orphan == 1)),
        // It was given back meanwhile.
        Err(failure) if failure.code == "unknown_table" => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn busy(table: &TableName) -> Failure {
    let what = format!("somebody else rebuilds the same aggregates ({table}); that is waited for, or try again later");
    Failure::new(Class::Transient, what)
}
