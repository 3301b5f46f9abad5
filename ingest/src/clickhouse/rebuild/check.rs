//! What has to be so before a rebuild could do any good: raw rows that are all there, targets with the same partitions, and
//! nobody else who writes to them.
//! A [`Rebuild`] goes in; nothing comes out, or the reason with the remedy. It changes nothing.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::scope::Rebuild;
use super::ttl;
use crate::clickhouse::name::TableName;
use crate::clickhouse::quoting::parse_identifier;
use crate::clickhouse::quoting::quote_string;
use crate::clickhouse::view_graph::catalog::writers;
use crate::clickhouse::view_graph::{Table, View};
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// A day: time zones differ by less.
const DAY: Duration = Duration::from_hours(24);

impl Rebuild<'_> {
    /// Fails where a rebuild could do no good, or harm.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        for table in &self.graph.tables {
            if !self.has_same_partitions(table) {
                return Err(self.elsewhere(table));
            }
            if self.views_of(&table.name).next().is_some() {
                self.may_lack_rows(table).await?;
            }
        }
        self.check_sources()?;
        self.check_writers().await?;
        if self.is_empty().await? { Err(self.of_nothing()) } else { Ok(()) }
    }

    fn views_of<'a>(&'a self, source: &'a TableName) -> impl Iterator<Item = &'a View> {
        self.graph.views.iter().filter(move |view| view.source == *source)
    }

    fn has_same_partitions(&self, table: &Table) -> bool {
        let key = table.partition_key.as_str();
        // A table that stores nothing is refused with a reason of its own.
        !table.engine.ends_with("MergeTree")
            || if self.month == 0 { matches!(key, "" | "tuple()") } else { month_column(key).is_some() }
    }

    /// A view whose source stores nothing can be computed from nothing, and an INSERT runs a view's first SELECT alone.
    fn check_sources(&self) -> Result<(), Failure> {
        for view in &self.graph.views {
            if view.select.contains(" UNION ") && !is_injected(Fault::AllowUnion) {
                let View { name, target, .. } = view;
                return Err(self.impossible(&format!(
                    "view {name} has a UNION, of which an INSERT runs the first part only, and a rebuild would run all; make \
                     it several views into {target}"
                )));
            }
            let is_stored = |name: &TableName| {
                self.graph.tables.iter().any(|table| table.name == *name && table.engine.ends_with("MergeTree"))
            };
            if !is_stored(&view.source) || !is_stored(&view.target) {
                let View { name, source, target, .. } = view;
                return Err(self.impossible(&format!(
                    "view {name} leads from {source} to {target}, of which one stores no rows; rebuild {target} and what is \
                     behind it by hand, or let views read {} itself",
                    self.base
                )));
            }
        }
        Ok(())
    }

    /// What others write to a target would be lost with the partition that is replaced.
    async fn check_writers(&self) -> Result<(), Failure> {
        let known = |name: &TableName| self.graph.views.iter().any(|view| view.name == *name);
        let views = self.graph.views.iter().map(|view| view.name.clone());
        let targets: Vec<_> = self.targets().map(|target| target.name.clone()).chain(views).collect();
        let foreign = writers(self.clickhouse, &targets).await?.into_iter().find(|(view, _)| !known(view));
        foreign.filter(|_| !is_injected(Fault::IgnoreOtherWriters)).map_or(Ok(()), |(view, target)| {
            Err(self.impossible(&format!(
                "view {view} writes to {target} as well and does not come from {}, so its rows would be lost; rebuild \
                 {target} by hand, or give that view a table of its own",
                self.base
            )))
        })
    }

    /// Fails if a TTL may have removed rows of the month, or values of a column: what is computed from the rest would be less
    /// than what was counted.
    async fn may_lack_rows(&self, table: &Table) -> Result<(), Failure> {
        let expressions = ttl::expressions(&table.definition);
        if expressions.is_empty() || is_injected(Fault::IgnoreTtl) {
            return Ok(());
        }
        if self.has_nothing_expired(table, &expressions).await? {
            return Ok(());
        }
        let Self { month, .. } = self;
        Err(self.impossible(&format!(
            "the TTL of {} may have removed rows or values of month {month} by now, so the aggregates stay as they are; \
             correct them by hand, and let the partition go on with `sluice ingest offsets accept`",
            table.name
        )))
    }

    /// Whether the oldest row that the month may ever have had is still kept by all of these expressions. Where they depend
    /// on more than the time that the table is partitioned by, nobody can tell.
    async fn has_nothing_expired(&self, table: &Table, expressions: &[String]) -> Result<bool, Failure> {
        let Some(column) = month_column(&table.partition_key) else { return Ok(false) };
        let Some(own) = parse_identifier(column) else { return Ok(false) };
        let start = format!(
            "toDateTime('{}-{:02}-01 00:00:00', 'UTC') - {}",
            self.month / 100,
            self.month % 100,
            DAY.as_secs()
        );
        let kept: Vec<_> = expressions.iter().map(|expression| format!("toDateTime({expression}) > now()")).collect();
        let TableName { database, name } = &table.name;
        let query_type = format!(
            "SELECT type FROM system.columns WHERE database = {} AND table = {} AND name = {} FORMAT TSVRaw",
            quote_string(database),
            quote_string(name),
            quote_string(&own)
        );
        let column_type = text(&self.clickhouse.query(&query_type, &[]).await?);
        let query = format!(
            "SELECT toUInt8({}) FROM (SELECT CAST({start}, {}) AS {column}) FORMAT TSV",
            kept.join(" AND "),
            quote_string(&column_type)
        );
        match self.clickhouse.query(&query, &[]).await {
            Ok(answer) => Ok(text(&answer) == "1"),
            Err(failure) if failure.class == Class::Transient => Err(failure),
            Err(_) => Ok(false),
        }
    }

    /// Whether the month has no row; those that were deleted and are only hidden so far are none.
    async fn is_empty(&self) -> Result<bool, Failure> {
        let filter =
            if self.month == 0 { "1".to_owned() } else { format!("toUInt32OrZero(_partition_id) = {}", self.month) };
        let query = format!("SELECT count() FROM (SELECT 1 FROM {} WHERE {filter} LIMIT 1) FORMAT TSV", self.base);
        Ok(text(&self.clickhouse.query(&query, &[("apply_deleted_mask", "1".to_owned())]).await?) == "0")
    }

    /// How many rows a table holds of a month.
    pub(super) async fn rows(&self, table: &TableName, month: u32) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Held {
            rows: String,
        }
        let query = format!(
            "SELECT toString(sum(rows)) AS rows FROM system.parts WHERE active AND database = {} AND table = {} \
             AND ({month} = 0 OR toUInt32OrZero(partition_id) = {month}) FORMAT JSON",
            quote_string(&table.database),
            quote_string(&table.name)
        );
        let held: Vec<Held> = self.clickhouse.select(&query, "").await?;
        Ok(held.first().and_then(|held| held.rows.parse().ok()).unwrap_or(0))
    }

    /// A month whose raw rows are gone may have aggregates that are meant to outlive them.
    fn of_nothing(&self) -> Failure {
        let Self { base, month, .. } = self;
        let what = format!(
            "{base} holds no rows of month {month}, so its aggregates stay as they are; if they are to go as well, drop that \
             partition of theirs"
        );
        Failure::new(Class::Operator, what)
    }

    /// A month of the table is not a partition of what its view writes to.
    pub(super) fn elsewhere(&self, table: &Table) -> Failure {
        let (Self { base, .. }, Table { name, partition_key: key, by, .. }) = (self, table);
        let view = by.as_ref().map_or_else(|| "somebody".to_owned(), |view| format!("view {view}"));
        self.impossible(&format!(
            "{view} puts its rows into other partitions of {name} (PARTITION BY {key}); rebuild {name} by hand, or partition \
             it by the same month as {base}"
        ))
    }

    fn impossible(&self, why: &str) -> Failure {
        let Self { base, month, .. } = self;
        Failure::new(
            Class::Operator,
            format!("the aggregates of {base} in partition {month} have to be rebuilt, and {why}"),
        )
    }
}

/// The column of a partition key that is a month.
fn month_column(key: &str) -> Option<&str> {
    let column = key.strip_prefix("toYYYYMM(")?.strip_suffix(')')?;
    (!column.contains(['(', ','])).then_some(column)
}

fn text(answer: &Bytes) -> String {
    String::from_utf8_lossy(answer).trim().to_owned()
}
