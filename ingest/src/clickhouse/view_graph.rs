//! Every table that an INSERT reaches through materialized views, in any database, and whether each of them would
//! recognize a repeated INSERT.
//! [`ViewGraph::token_retention`] returns how long all tables are guaranteed to remember a token, or the
//! [`UnsuitableTable`] that does not, with the remedy. This module reads `system.tables` and the
//! settings of MergeTree, and changes nothing.
//!
//! The graph is read when a worker starts and again before an INSERT is repeated, since views may be added while it
//! runs.

pub mod catalog;

use std::collections::HashMap;
use std::time::Duration;

use super::client::ClickHouse;
use super::demand::{Demand, UnsuitableTable};
use super::engine::{self, Defaults, Effect, Replication, Window};
use super::name::TableName;
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};
use catalog::Rows;

/// A table that an INSERT reaches.
#[derive(Debug, Clone)]
pub struct Table {
    /// Name of the table.
    pub name: TableName,
    /// Engine of the table.
    pub engine: String,
    /// Engine with keys, TTL and settings.
    pub engine_full: String,
    /// Text of its partition key.
    pub partition_key: String,
    /// The complete definition.
    pub definition: String,
    /// A view that writes to it; `None` for the base table.
    pub via: Option<TableName>,
    /// Number of view paths from the base table: the number of blocks that one INSERT adds.
    pub path_count: u64,
}

/// A materialized view that an INSERT triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Name of the view.
    pub name: TableName,
    /// The view's SELECT, with qualified names.
    pub select: String,
    /// The table whose INSERTs trigger it.
    pub source: TableName,
    /// The table that it writes to.
    pub target: TableName,
}

/// Everything that an INSERT reaches. Sources come before their targets.
#[derive(Debug, Clone, Default)]
pub struct ViewGraph {
    /// The base table, then all tables that views write to.
    pub tables: Vec<Table>,
    /// All views.
    pub views: Vec<View>,
    /// Time since the base table or a view was created or changed; `None` if the table is missing.
    pub unchanged_for: Option<Duration>,
    /// Time since a table that views write to was created or changed; `None` without views.
    pub targets_unchanged_for: Option<Duration>,
    defaults: HashMap<Replication, Defaults>,
    /// Why the graph is unusable regardless of windows; its other fields are then incomplete.
    unsuitable: Option<UnsuitableTable>,
}

impl ViewGraph {
    /// Reads everything that an INSERT into `table` reaches. A missing table reaches nothing.
    pub async fn read(clickhouse: &ClickHouse, table: &str) -> Result<Self, Failure> {
        Self::reread(clickhouse, table, &Self::default()).await
    }

    /// Like [`Self::read`], but reads `system.tables` in a single query if the graph is still the same as `last`.
    pub(super) async fn reread(clickhouse: &ClickHouse, table: &str, last: &Self) -> Result<Self, Failure> {
        let base = TableName::new(clickhouse.database(), table);
        let known = last.tables.iter().map(|table| &table.name).chain(last.views.iter().map(|view| &view.name));
        let rows = catalog::read(clickhouse, &base, known).await?;
        let mut graph = Self::default();
        let Some(row) = rows.get(&base) else { return Ok(graph) };
        // `visit` would follow a view to its target, but a view cannot be the base table.
        if let (true, Err(reason)) = (row.is_view(), engine::base_window(&row.engine, "", &Defaults::new())) {
            let (label, engine) = (describe(&base, None), row.engine.clone());
            graph.unsuitable = Some(UnsuitableTable::Engine { label, engine, reason });
            return Ok(graph);
        }
        if let Err(unsuitable) = graph.visit(&rows, &base, None, &mut Vec::new()) {
            graph.unsuitable = Some(unsuitable);
            return Ok(graph);
        }
        graph.sort();
        for replication in
            graph.tables.iter().filter_map(|table| engine::replication(&table.engine)).collect::<Vec<_>>()
        {
            if replication != Replication::Shared && !graph.defaults.contains_key(&replication) {
                graph.defaults.insert(replication, catalog::defaults(clickhouse, replication).await?);
            }
        }
        Ok(graph)
    }

    /// Follows one path to a table and everything that it feeds.
    fn visit(
        &mut self,
        rows: &Rows,
        table: &TableName,
        via: Option<&TableName>,
        path: &mut Vec<TableName>,
    ) -> Result<(), UnsuitableTable> {
        if path.contains(table) {
            return Err(UnsuitableTable::Cycle(table.clone()));
        }
        let row = rows
            .get(table)
            .ok_or_else(|| UnsuitableTable::Hidden { label: describe(table, via), table: table.clone() })?;
        path.push(table.clone());
        match via {
            None => update_minimum_age(&mut self.unchanged_for, row),
            Some(_) if row.is_view() => {}
            Some(_) => update_minimum_age(&mut self.targets_unchanged_for, row),
        }
        if row.is_view() {
            // A view that another view writes to passes the rows on to its own target.
            self.visit(rows, &row.target(), via, path)?;
        } else {
            self.add_table(row, table, via);
        }
        for name in row.dependent_views() {
            let hidden = || UnsuitableTable::Hidden { label: format!("view {name} on {table}"), table: name.clone() };
            let view = rows.get(&name).ok_or_else(hidden)?;
            if !view.is_view() {
                let reason = "is not known to count a repeated INSERT only once; use a materialized view";
                return Err(UnsuitableTable::Engine {
                    label: format!("view {name} on {table}"),
                    engine: view.engine.clone(),
                    reason,
                });
            }
            update_minimum_age(&mut self.unchanged_for, view);
            self.visit(rows, &view.target(), Some(&name), path)?;
            let target = catalog::resolve(rows, view.target());
            let view = View { name, select: view.as_select.clone(), source: table.clone(), target };
            if !self.views.contains(&view) {
                self.views.push(view);
            }
        }
        path.pop();
        Ok(())
    }

    fn add_table(&mut self, row: &catalog::Row, name: &TableName, via: Option<&TableName>) {
        if let Some(known) = self.tables.iter_mut().find(|table| table.name == *name) {
            known.path_count += 1;
            return;
        }
        self.tables.push(Table {
            name: name.clone(),
            engine: row.engine.clone(),
            engine_full: row.engine_full.clone(),
            partition_key: row.partition_key.clone(),
            definition: row.create_table_query.clone(),
            via: via.cloned(),
            path_count: 1,
        });
    }

    /// Orders each table after all of its sources.
    fn sort(&mut self) {
        let views = &self.views;
        self.tables.sort_by_key(|table| depth(views, &table.name));
    }

    /// Fails if a table or view of the graph cannot be used at all.
    pub fn check(&self) -> Result<(), UnsuitableTable> {
        self.unsuitable.clone().map_or(Ok(()), Err)
    }

    /// Returns how long all tables of the graph are guaranteed to remember a token, if that is long enough.
    pub fn token_retention(&self, demand: &Demand) -> Result<Duration, UnsuitableTable> {
        self.check()?;
        let (mut min_seconds, mut tables) = (u64::MAX, self.tables.iter());
        let none = Defaults::new();
        let defaults = |table: &Table| {
            engine::replication(&table.engine).and_then(|replication| self.defaults.get(&replication)).unwrap_or(&none)
        };
        let unsuitable_engine = |table: &Table, reason| UnsuitableTable::Engine {
            label: table.describe(),
            engine: table.engine.clone(),
            reason,
        };
        if let Some(base) = tables.next() {
            let window = engine::base_window(&base.engine, &base.engine_full, defaults(base));
            min_seconds = min_seconds
                .min(base.token_retention_seconds(&window.map_err(|reason| unsuitable_engine(base, reason))?, demand)?);
        }
        for table in tables {
            let effect = engine::target_effect(&table.engine, &table.engine_full, defaults(table));
            if let Effect::Stores(window) = effect.map_err(|reason| unsuitable_engine(table, reason))? {
                min_seconds = min_seconds.min(table.token_retention_seconds(&window, demand)?);
            }
        }
        Ok(Duration::from_secs(min_seconds))
    }
}

impl Table {
    /// The table as text for a message.
    pub fn describe(&self) -> String {
        describe(&self.name, self.via.as_ref())
    }

    /// Seconds for which the table is guaranteed to remember a token.
    fn token_retention_seconds(&self, window: &Window, demand: &Demand) -> Result<u64, UnsuitableTable> {
        let needed = if is_injected(Fault::IgnoreViews) { 0 } else { demand.inserts * self.path_count };
        if window.blocks < needed {
            let paths = if self.path_count > 1 {
                format!(", for each of {} view paths", self.path_count)
            } else {
                String::new()
            };
            let (label, table) = (self.describe(), self.name.clone());
            return Err(UnsuitableTable::Window {
                label,
                table,
                setting: window.setting,
                remembered: window.blocks,
                needed,
                paths,
            });
        }
        let seconds_by_count = window.blocks / (2 * demand.per_second * self.path_count);
        match window.seconds {
            Some(seconds) if seconds < demand.seconds => Err(UnsuitableTable::Seconds {
                label: self.describe(),
                table: self.name.clone(),
                setting: window.seconds_setting,
                remembered: seconds,
                needed: demand.seconds,
            }),
            seconds => Ok(seconds.map_or(seconds_by_count, |seconds| seconds_by_count.min(seconds))),
        }
    }
}

fn describe(table: &TableName, via: Option<&TableName>) -> String {
    via.map_or_else(|| format!("table {table}"), |view| format!("table {table}, which view {view} writes to,"))
}

fn update_minimum_age(minimum: &mut Option<Duration>, row: &catalog::Row) {
    let age = Duration::from_secs(u64::try_from(row.unchanged_for).unwrap_or(0));
    *minimum = Some(minimum.map_or(age, |minimum| minimum.min(age)));
}

/// Number of views on the longest path to a table. The graph has no cycles.
fn depth(views: &[View], name: &TableName) -> usize {
    let sources = views.iter().filter(|view| view.target == *name).map(|view| &view.source);
    sources.map(|source| 1 + depth(views, source)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::Row;

    const SMALL: &str = "SETTINGS non_replicated_deduplication_window = 10";
    const LARGE: &str = "SETTINGS non_replicated_deduplication_window = 1000";

    fn table(name: &str, engine: &str, settings: &str, views: &[&str]) -> Row {
        Row {
            database: "d".to_owned(),
            name: name.to_owned(),
            engine: engine.to_owned(),
            engine_full: format!("{engine} {settings}"),
            dependencies_database: vec!["d".to_owned(); views.len()],
            dependencies_table: views.iter().map(|view| (*view).to_owned()).collect(),
            ..Row::default()
        }
    }

    fn view(name: &str, target: &str) -> Row {
        let target_database = Some("d".to_owned());
        Row { target_database, target_table: Some(target.to_owned()), ..table(name, "MaterializedView", "", &[]) }
    }

    fn graph(rows: &[Row]) -> Result<ViewGraph, UnsuitableTable> {
        let rows = rows.iter().map(|row| (TableName::new("d", &row.name), row.clone())).collect();
        let mut graph = ViewGraph::default();
        graph.visit(&rows, &TableName::new("d", "base"), None, &mut Vec::new())?;
        graph.sort();
        Ok(graph)
    }

    fn remembered_seconds(rows: &[Row]) -> Result<u64, String> {
        let demand = Demand { per_second: 1, inserts: 20, seconds: 10 };
        let remembered_seconds = graph(rows).and_then(|graph| graph.token_retention(&demand));
        remembered_seconds.map(|time| time.as_secs()).map_err(|unsuitable| unsuitable.to_string())
    }

    #[test]
    fn the_smallest_window_on_any_path_counts() {
        let base = table("base", "MergeTree", LARGE, &["v"]);
        let through = [view("v", "n"), table("n", "Null", "", &["w"]), view("w", "t")];
        let all = |last: Row| remembered_seconds(&[std::slice::from_ref(&base), &through[..], &[last]].concat());
        assert_eq!(all(table("t", "SummingMergeTree", LARGE, &[])), Ok(500));
        insta::assert_snapshot!(all(table("t", "SummingMergeTree", SMALL, &[])).unwrap_err(), @"table d.t, which view d.w writes to, remembers 10 inserted blocks, and 20 are needed: twice ingest.peak_inserts_per_second for the session and insert timeouts; ALTER TABLE d.t MODIFY SETTING non_replicated_deduplication_window = 20");
        insta::assert_snapshot!(all(table("t", "Memory", "", &[])).unwrap_err(), @"table d.t, which view d.w writes to, has engine Memory, which does not recognize a repeated INSERT; use an engine of the MergeTree family with a deduplication window");
    }

    #[test]
    fn a_second_view_into_a_table_halves_its_window() {
        let window = |blocks: u64| format!("SETTINGS non_replicated_deduplication_window = {blocks}");
        let remembered_seconds = |blocks| {
            let base = table("base", "MergeTree", LARGE, &["v", "w"]);
            remembered_seconds(&[base, view("v", "t"), view("w", "t"), table("t", "MergeTree", &window(blocks), &[])])
        };
        assert_eq!(remembered_seconds(40), Ok(10));
        assert!(remembered_seconds(39).unwrap_err().contains("and 40 are needed"));
    }

    #[test]
    fn a_view_into_a_view_uses_the_underlying_table() {
        let base = table("base", "MergeTree", LARGE, &["v", "w"]);
        let rows = [base, view("v", "w"), view("w", "t"), table("t", "MergeTree", LARGE, &[])];
        let graph = graph(&rows).unwrap();
        assert_eq!(graph.tables.iter().map(|table| table.path_count).collect::<Vec<_>>(), [1, 2]);
        assert!(graph.views.iter().all(|view| view.target.name == "t"));
    }

    #[test]
    fn a_source_comes_before_its_targets() {
        let base = table("base", "MergeTree", LARGE, &["short", "long"]);
        let first = table("a", "MergeTree", LARGE, &["further"]);
        let last = table("z", "MergeTree", LARGE, &[]);
        let graph = graph(&[base, view("short", "z"), view("long", "a"), first, view("further", "z"), last]).unwrap();
        assert_eq!(graph.tables.iter().map(|table| &*table.name.name).collect::<Vec<_>>(), ["base", "a", "z"]);
    }

    #[test]
    fn hidden_tables_and_cycles_are_refused() {
        let base = table("base", "MergeTree", LARGE, &["v"]);
        insta::assert_snapshot!(remembered_seconds(std::slice::from_ref(&base)).unwrap_err(), @"view d.v on d.base is not visible to this user, so it is unknown whether it recognizes a repeated INSERT; GRANT SHOW TABLES ON d.v to the user, or drop the view");
        insta::assert_snapshot!(remembered_seconds(&[base.clone(), view("v", "t")]).unwrap_err(), @"table d.t, which view d.v writes to, is not visible to this user, so it is unknown whether it recognizes a repeated INSERT; GRANT SHOW TABLES ON d.t to the user, or drop the view");
        assert!(remembered_seconds(&[base.clone(), view("v", "base")]).unwrap_err().contains("form a cycle"));
        let window = Row { engine: "WindowView".to_owned(), ..view("v", "t") };
        assert!(remembered_seconds(&[base, window]).unwrap_err().contains("view d.v on d.base has engine WindowView"));
    }

    #[test]
    fn a_time_window_bounds_what_is_remembered() {
        let settings = |seconds| {
            format!(
                "SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = {seconds}"
            )
        };
        let remembered_seconds =
            |seconds| remembered_seconds(&[table("base", "ReplicatedMergeTree", &settings(seconds), &[])]);
        assert_eq!((remembered_seconds(3600), remembered_seconds(60)), (Ok(500), Ok(60)));
        insta::assert_snapshot!(remembered_seconds(9).unwrap_err(), @"table d.base remembers inserted blocks for 9 s, and 10 s are needed: the session and insert timeouts; ALTER TABLE d.base MODIFY SETTING replicated_deduplication_window_seconds = 10");
    }
}
