//! Whether somebody else writes to a month while it is rebuilt.
//! An INSERT puts its rows into the base first and into the targets afterwards. One that does the one before a rebuild and the
//! other after it would be counted twice; one that does both while it runs may be counted once, twice or not at all.
//!
//! So: the state of the base's month is taken down (rows, highest block, highest mutation); every INSERT that runs then is
//! waited for, by the id of its query; at the end the same again, and the base has to be as it was. An INSERT that ClickHouse
//! recognises changes nothing in the base and may still complete a target: the parts that a target has beyond those of the
//! rebuild tell.

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

/// How long INSERTs that began earlier are waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// The state of a base's month: what changes when somebody writes to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trace(Bytes);

/// A month that was put in its place.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) target: TableName,
    pub(super) fresh: TableName,
    /// Highest block of the month before that.
    pub(super) highest: i64,
}

impl Rebuild<'_> {
    /// Parts of a table's month, for a `WHERE` of `system.parts`.
    fn parts(&self, table: &TableName) -> String {
        let (database, name, month) = (quote_string(&table.database), quote_string(&table.name), self.month);
        format!("database = {database} AND table = {name} AND ({month} = 0 OR toUInt32OrZero(partition_id) = {month})")
    }

    pub(super) async fn trace(&self) -> Result<Trace, Failure> {
        let query = format!(
            "SELECT sum(rows), max(max_block_number), max(data_version) FROM system.parts WHERE active AND {} FORMAT TSV",
            self.parts(&self.base)
        );
        Ok(Trace(self.clickhouse.query(&query, &[]).await?))
    }

    /// Waits until all INSERTs that run now have ended. Others may have begun by then.
    pub(super) async fn wait_for_writers(&self, lock: &Lock<'_>) -> Result<(), Failure> {
        let (earlier, until) = (self.writers().await?, Instant::now() + PATIENCE);
        if is_injected(Fault::SkipWriterWait) {
            return Ok(());
        }
        loop {
            let left = self.writers().await?.intersection(&earlier).count();
            if left == 0 {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(self.unended(left));
            }
            lock.heartbeat().await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ids of the INSERTs that name the base, a view or a target.
    async fn writers(&self) -> Result<HashSet<String>, Failure> {
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

    /// The question that [`Self::highest_block`] asks; 0 without parts.
    pub(super) fn highest(&self, table: &TableName) -> String {
        format!("SELECT max(max_block_number) FROM system.parts WHERE {}", self.parts(table))
    }

    /// The highest block that a table's month ever had, as far as ClickHouse still has its parts.
    pub(super) async fn highest_block(&self, table: &TableName) -> Result<i64, Failure> {
        let query = format!("{} FORMAT TSV", self.highest(table));
        let answer = self.clickhouse.query(&query, &[]).await?;
        Ok(String::from_utf8_lossy(&answer).trim().parse().unwrap_or(0))
    }

    /// Whether a month has parts besides those that took its place: ClickHouse keeps the list of parts for some minutes after
    /// they were merged, and a part that was taken over has the same files as in the table it came from.
    pub(super) async fn is_written_since(&self, replaced: &Replaced) -> Result<bool, Failure> {
        let Replaced { target, fresh, highest } = replaced;
        let query = format!(
            "SELECT count() FROM system.parts WHERE {} AND rows > 0 AND min_block_number = max_block_number \
             AND min_block_number > {highest} AND hash_of_all_files NOT IN \
             (SELECT hash_of_all_files FROM system.parts WHERE {}) FORMAT TSV",
            self.parts(target),
            self.parts(fresh)
        );
        let answer = self.clickhouse.query(&query, &[]).await?;
        Ok(String::from_utf8_lossy(&answer).trim() != "0")
    }

    fn unended(&self, left: usize) -> Failure {
        let what = format!(
            "{left} INSERTs into {} have been running for longer than {} s, and its aggregates are not rebuilt before they \
             end; look at system.processes",
            self.base,
            PATIENCE.as_secs()
        );
        Failure::new(Class::Transient, what)
    }
}
