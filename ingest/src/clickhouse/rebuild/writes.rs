//! Detects whether another process writes to a month while it is rebuilt.
//! An INSERT writes its rows to the base first and to the targets afterwards. One that writes to the base before a
//! rebuild and to the targets after it would be counted twice; one that writes to both during a rebuild may be counted
//! once, twice or not at all. This module never stops a writer.
//!
//! So a rebuild records the state of the base's month (rows, highest block, highest mutation) and waits for every
//! INSERT that is running then, by query ID. At the end it waits again, and the base must be unchanged. An INSERT that
//! ClickHouse recognizes as repeated changes nothing in the base but may still complete a target: such an INSERT is
//! detected by parts that the target has in addition to those of the rebuild.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;

use super::lock::Lock;
use super::scope::Rebuild;
use super::statement::PAUSE;
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::quote_string;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// How long to wait for INSERTs that began earlier.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The state of a base's month; it changes with every write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BaseState(Bytes);

/// A month that was replaced.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) target: TableName,
    pub(super) scratch: TableName,
    /// Highest block of the month before the replacement.
    pub(super) highest_block: i64,
}

impl Rebuild<'_> {
    /// Selects the parts of a table's month, for a `WHERE` on `system.parts`.
    fn parts(&self, table: &TableName) -> String {
        let (database, name, month) = (quote_string(&table.database), quote_string(&table.name), self.month);
        format!("database = {database} AND table = {name} AND ({month} = 0 OR toUInt32OrZero(partition_id) = {month})")
    }

    pub(super) async fn base_state(&self) -> Result<BaseState, Failure> {
        let query = format!(
            "SELECT sum(rows), max(max_block_number), max(data_version) FROM system.parts WHERE active AND {} FORMAT TSV",
            self.parts(&self.base)
        );
        Ok(BaseState(self.clickhouse.query(&query, &[]).await?))
    }

    /// Waits until all INSERTs that are running at the time of the call have ended. Others may have begun by then.
    pub(super) async fn wait_for_writers(&self, lock: &Lock<'_>) -> Result<(), Failure> {
        let (earlier, deadline) = (self.running_inserts().await?, Instant::now() + TIMEOUT);
        if is_injected(Fault::SkipWriterWait) {
            return Ok(());
        }
        loop {
            let running = self.running_inserts().await?.intersection(&earlier).count();
            if running == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.still_running(running));
            }
            lock.heartbeat().await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Query IDs of the running INSERTs that name the base, a view or a target.
    async fn running_inserts(&self) -> Result<HashSet<String>, Failure> {
        #[derive(Deserialize)]
        struct Running {
            query_id: String,
        }
        let reached =
            self.graph.tables.iter().map(|table| &table.name).chain(self.graph.views.iter().map(|view| &view.name));
        let is_named: Vec<_> =
            reached.map(|name| format!("position(query, {}) > 0", quote_string(&name.name))).collect();
        let query = format!(
            "SELECT query_id FROM system.processes WHERE query_kind IN ('Insert', 'AsyncInsertFlush') \
             AND position(query, '__rebuild') = 0 AND ({}) FORMAT JSON",
            is_named.join(" OR ")
        );
        let running: Vec<Running> = self.clickhouse.select(&query, "").await?;
        Ok(running.into_iter().map(|Running { query_id }| query_id).collect())
    }

    /// Returns the query that [`Self::highest_block`] runs; its result is 0 without parts.
    pub(super) fn highest_block_query(&self, table: &TableName) -> String {
        format!("SELECT max(max_block_number) FROM system.parts WHERE {}", self.parts(table))
    }

    /// The highest block number that a table's month ever had, as far as ClickHouse still lists its parts.
    pub(super) async fn highest_block(&self, table: &TableName) -> Result<i64, Failure> {
        let query = format!("{} FORMAT TSV", self.highest_block_query(table));
        let body = self.clickhouse.query(&query, &[]).await?;
        Ok(String::from_utf8_lossy(&body).trim().parse().unwrap_or(0))
    }

    /// Whether a month has parts other than those of the replacement: ClickHouse lists parts for some minutes after
    /// they were merged, and an attached part has the same files as in the table it came from.
    pub(super) async fn is_written_since(&self, replaced: &Replaced) -> Result<bool, Failure> {
        let Replaced { target, scratch, highest_block } = replaced;
        let query = format!(
            "SELECT count() FROM system.parts WHERE {} AND rows > 0 AND min_block_number = max_block_number \
             AND min_block_number > {highest_block} AND hash_of_all_files NOT IN \
             (SELECT hash_of_all_files FROM system.parts WHERE {}) FORMAT TSV",
            self.parts(target),
            self.parts(scratch)
        );
        let body = self.clickhouse.query(&query, &[]).await?;
        Ok(String::from_utf8_lossy(&body).trim() != "0")
    }

    fn still_running(&self, inserts: usize) -> Failure {
        let what = format!(
            "{inserts} INSERTs into {} have been running for longer than {} s, and its aggregates are rebuilt only after they \
             end; look at system.processes",
            self.base,
            TIMEOUT.as_secs()
        );
        Failure::new(Class::Transient, what)
    }
}
