//! Checks the preconditions of a rebuild: complete raw rows, targets with the same partitions, and no other writers.
//! A failure contains the reason and the remedy. It changes nothing.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::scope::Rebuild;
use super::ttl;
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::parse_identifier;
use crate::clickhouse::quoting::quote_string;
use crate::clickhouse::view_graph::catalog::views_writing_to;
use crate::clickhouse::view_graph::{Table, View};
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// One day: time zones differ by less.
const DAY: Duration = Duration::from_hours(24);

impl Rebuild<'_> {
    /// Fails if a rebuild would be useless or do harm.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        for table in &self.graph.tables {
            if !self.has_same_partitions(table) {
                return Err(self.partition_mismatch(table));
            }
            if self.views_of(&table.name).next().is_some() {
                self.check_ttl(table).await?;
            }
        }
        self.check_sources()?;
        self.check_writers().await?;
        if self.is_empty().await? { Err(self.no_raw_rows()) } else { Ok(()) }
    }

    fn views_of<'a>(&'a self, source: &'a TableName) -> impl Iterator<Item = &'a View> {
        self.graph.views.iter().filter(move |view| view.source == *source)
    }

    fn has_same_partitions(&self, table: &Table) -> bool {
        let key = table.partition_key.as_str();
        // `check_sources` reports a table that stores nothing.
        !table.engine.ends_with("MergeTree")
            || if self.month == 0 { matches!(key, "" | "tuple()") } else { month_column(key).is_some() }
    }

    /// A view cannot be recomputed if its source stores nothing, or if it has a UNION: an INSERT runs only its first
    /// SELECT.
    fn check_sources(&self) -> Result<(), Failure> {
        for view in &self.graph.views {
            if view.select.contains(" UNION ") && !is_injected(Fault::AllowUnion) {
                let View { name, target, .. } = view;
                return Err(self.failure(&format!(
                    "view {name} has a UNION, of which an INSERT runs only the first part but a rebuild would run all; split \
                     it into several views that write to {target}"
                )));
            }
            let is_stored = |name: &TableName| {
                self.graph.tables.iter().any(|table| table.name == *name && table.engine.ends_with("MergeTree"))
            };
            if !is_stored(&view.source) || !is_stored(&view.target) {
                let View { name, source, target, .. } = view;
                return Err(self.failure(&format!(
                    "view {name} reads {source} and writes to {target}, one of which stores no rows; rebuild {target} and \
                     the tables behind it by hand, or let views read {} directly",
                    self.base
                )));
            }
        }
        Ok(())
    }

    /// Replacing a partition of a target would lose rows that other views wrote to it.
    async fn check_writers(&self) -> Result<(), Failure> {
        let known = |name: &TableName| self.graph.views.iter().any(|view| view.name == *name);
        let views = self.graph.views.iter().map(|view| view.name.clone());
        let targets: Vec<_> = self.targets().map(|target| target.name.clone()).chain(views).collect();
        let other_writer =
            views_writing_to(self.clickhouse, &targets).await?.into_iter().find(|(view, _)| !known(view));
        other_writer.filter(|_| !is_injected(Fault::IgnoreOtherWriters)).map_or(Ok(()), |(view, target)| {
            Err(self.failure(&format!(
                "view {view} writes to {target} too and does not read {}, so its rows would be lost; rebuild \
                 {target} by hand, or give that view a table of its own",
                self.base
            )))
        })
    }

    /// Fails if a TTL may have removed rows of the month or values of a column: the recomputed aggregates would be too
    /// low.
    async fn check_ttl(&self, table: &Table) -> Result<(), Failure> {
        let expressions = ttl::expressions(&table.definition);
        if expressions.is_empty() || is_injected(Fault::IgnoreTtl) {
            return Ok(());
        }
        if self.has_nothing_expired(table, &expressions).await? {
            return Ok(());
        }
        let Self { month, .. } = self;
        Err(self.failure(&format!(
            "the TTL of {} may have removed rows or values of month {month} by now, so the aggregates stay as they are; \
             correct them by hand, then resume the partition with `sluice ingest offsets accept`",
            table.name
        )))
    }

    /// Whether all of these expressions still keep the oldest row that the month may ever have held. Returns `false` if
    /// they depend on more than the time that the table is partitioned by, since it cannot be determined then.
    async fn has_nothing_expired(&self, table: &Table, expressions: &[String]) -> Result<bool, Failure> {
        let Some(column) = month_column(&table.partition_key) else { return Ok(false) };
        let Some(column_name) = parse_identifier(column) else { return Ok(false) };
        let start = format!(
            "toDateTime('{}-{:02}-01 00:00:00', 'UTC') - {}",
            self.month / 100,
            self.month % 100,
            DAY.as_secs()
        );
        let conditions: Vec<_> =
            expressions.iter().map(|expression| format!("toDateTime({expression}) > now()")).collect();
        let TableName { database, name } = &table.name;
        let query_type = format!(
            "SELECT type FROM system.columns WHERE database = {} AND table = {} AND name = {} FORMAT TSVRaw",
            quote_string(database),
            quote_string(name),
            quote_string(&column_name)
        );
        let column_type = text(&self.clickhouse.query(&query_type, &[]).await?);
        let query = format!(
            "SELECT toUInt8({}) FROM (SELECT CAST({start}, {}) AS {column}) FORMAT TSV",
            conditions.join(" AND "),
            quote_string(&column_type)
        );
        match self.clickhouse.query(&query, &[]).await {
            Ok(body) => Ok(text(&body) == "1"),
            Err(failure) if failure.class == Class::Transient => Err(failure),
            Err(_) => Ok(false),
        }
    }

    /// Whether the month has no rows; rows hidden by a lightweight DELETE do not count.
    async fn is_empty(&self) -> Result<bool, Failure> {
        let filter =
            if self.month == 0 { "1".to_owned() } else { format!("toUInt32OrZero(_partition_id) = {}", self.month) };
        let query = format!("SELECT count() FROM (SELECT 1 FROM {} WHERE {filter} LIMIT 1) FORMAT TSV", self.base);
        Ok(text(&self.clickhouse.query(&query, &[("apply_deleted_mask", "1".to_owned())]).await?) == "0")
    }

    /// Number of rows of a month in a table.
    pub(super) async fn rows(&self, table: &TableName, month: u32) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct RowCount {
            rows: String,
        }
        let query = format!(
            "SELECT toString(sum(rows)) AS rows FROM system.parts WHERE active AND database = {} AND table = {} \
             AND ({month} = 0 OR toUInt32OrZero(partition_id) = {month}) FORMAT JSON",
            quote_string(&table.database),
            quote_string(&table.name)
        );
        let counts: Vec<RowCount> = self.clickhouse.select(&query, "").await?;
        Ok(counts.first().and_then(|counts| counts.rows.parse().ok()).unwrap_or(0))
    }

    /// The failure for a month without raw rows: its aggregates may be meant to outlive them.
    fn no_raw_rows(&self) -> Failure {
        let Self { base, month, .. } = self;
        let what = format!(
            "{base} holds no rows of month {month}, so its aggregates stay as they are; to remove them too, drop that \
             partition of the aggregate tables"
        );
        Failure::new(Class::Operator, what)
    }

    /// The failure for a table whose partitions are not the months of the base.
    pub(super) fn partition_mismatch(&self, table: &Table) -> Failure {
        let (Self { base, .. }, Table { name, partition_key: key, via, .. }) = (self, table);
        let view = via.as_ref().map_or_else(|| "a view".to_owned(), |view| format!("view {view}"));
        self.failure(&format!(
            "{view} writes its rows to other partitions of {name} (PARTITION BY {key}); rebuild {name} by hand, or partition \
             it by the same month as {base}"
        ))
    }

    fn failure(&self, reason: &str) -> Failure {
        let Self { base, month, .. } = self;
        Failure::new(
            Class::Operator,
            format!("the aggregates of {base} in partition {month} must be rebuilt, but {reason}"),
        )
    }
}

/// The column of a partition key by month.
fn month_column(key: &str) -> Option<&str> {
    let column = key.strip_prefix("toYYYYMM(")?.strip_suffix(')')?;
    (!column.contains(['(', ','])).then_some(column)
}

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).trim().to_owned()
}
