//! One rebuild of a table at a time, among all workers and operators: two that replace the same partition at once leave the
//! rows of both there.
//! A table goes in; the right to rebuild its aggregates comes out, as a table of that name plus [`super::FRESH`], which only
//! one can create. It is given back by dropping it; one whose owner died is taken away.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::warn;

use super::{FRESH, drop_table, run};
use crate::retry::Class;
use crate::write::clickhouse::{ClickHouse, quote};
use crate::write::failure::Failure;

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
    table: String,
}

#[derive(Deserialize)]
struct Seen {
    is_orphan: u8,
}

impl<'a> Lock<'a> {
    /// Waits for it.
    pub(super) async fn take(clickhouse: &'a ClickHouse, base: &str) -> Result<Self, Failure> {
        let (table, until) = (format!("{base}{FRESH}"), Instant::now() + PATIENCE);
        let create = format!("CREATE TABLE {} (at DateTime DEFAULT now()) ENGINE = Memory", quote(&table));
        let mut looks = 0;
        loop {
            match run(clickhouse, &create, &[]).await {
                Ok(()) => return Ok(Self { clickhouse, table }),
                Err(failure) if failure.code != EXISTS => return Err(failure),
                Err(_) if Instant::now() >= until => return Err(busy(base)),
                Err(_) => looks = if is_orphan(clickhouse, &table).await? { looks + 1 } else { 0 },
            }
            if looks >= LOOKS {
                warn!(table, "whoever rebuilt last has not given its lock back; it is taken away");
                drop_table(clickhouse, &table).await?;
                looks = 0;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives it back.
    pub(super) async fn give_back(self) -> Result<(), Failure> {
        drop_table(self.clickhouse, &self.table).await
    }
}

/// Whether a lock is older than the time between two statements of a rebuild, or from the future (the server's clock was set
/// back), and none runs.
async fn is_orphan(clickhouse: &ClickHouse, table: &str) -> Result<bool, Failure> {
    let query = "SELECT (SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = {table:String} \
                 AND metadata_modification_time NOT BETWEEN now() - 10 AND now()) = 1 AND (SELECT count() FROM system.processes \
                 WHERE current_database = currentDatabase() AND position(query, '__rebuild_') > 0 \
                 AND position(query, 'system.processes') = 0) = 0 AS is_orphan FORMAT JSON";
    let seen: Vec<Seen> = clickhouse.select(query, table).await?;
    Ok(seen.first().is_some_and(|seen| seen.is_orphan == 1))
}

fn busy(base: &str) -> Failure {
    let what = format!("somebody else rebuilds aggregates of {base}; that is waited for, or try again later");
    Failure::new(Class::Transient, what)
}
