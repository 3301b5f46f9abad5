//! Every table that an INSERT reaches through materialized views, in whatever database, and whether each of them would
//! recognise the INSERT if it were sent again.
//! A table goes in; the [`ViewGraph`] of its views and their targets comes out, and how long all of it surely remembers a token,
//! or [`Unfit`]: the one table that does not, with the remedy. It reads `system.tables` and changes nothing.
//!
//! The graph is read when a worker starts and again before an INSERT is repeated, since a view may be added meanwhile.

pub mod catalog;

use std::collections::HashMap;
use std::time::Duration;

use super::client::ClickHouse;
use super::demand::{Demand, Unfit};
use super::engine::{self, Copies, Defaults, Effect, Window};
use super::name::TableName;
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};
use catalog::Rows;

/// A table that an INSERT reaches.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Its engine.
    pub engine: String,
    /// Engine with keys, TTL and settings.
    pub engine_full: String,
    /// Text of its partition key.
    pub partition_key: String,
    /// Its whole definition.
    pub definition: String,
    /// A view that writes to it; `None` for the table itself.
    pub by: Option<TableName>,
    /// Blocks that one INSERT puts in: the number of ways that lead to it.
    pub ways: u64,
}

/// A materialized view that an INSERT runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: TableName,
    /// What it selects, with qualified names.
    pub select: String,
    /// The table whose INSERTs run it.
    pub source: TableName,
    /// The table that it writes to.
    pub target: TableName,
}

/// What an INSERT reaches. A source stands before its targets.
#[derive(Debug, Clone, Default)]
pub struct ViewGraph {
    /// The table itself, and then all that views write to.
    pub tables: Vec<Table>,
    /// All views.
    pub views: Vec<View>,
    /// For how long neither the table itself nor a view has been made or changed; `None` without the table.
    pub unchanged_for: Option<Duration>,
    /// For how long nothing that views write to has been made or changed; `None` without views.
    pub targets_unchanged_for: Option<Duration>,
    defaults: HashMap<Copies, Defaults>,
    /// What makes it unusable whatever tokens are remembered; then the rest is not complete.
    unfit: Option<Unfit>,
}

impl ViewGraph {
    /// Asks ClickHouse for everything that an INSERT into `table` reaches. A table that is not there reaches nothing.
    pub async fn read(clickhouse: &ClickHouse, table: &str) -> Result<Self, Failure> {
        Self::read_again(clickhouse, table, &Self::default()).await
    }

    /// The same, in one question where it reaches what it reached the last time.
    pub(super) async fn read_again(clickhouse: &ClickHouse, table: &str, last: &Self) -> Result<Self, Failure> {
        let base = TableName::new(clickhouse.database(), table);
        let known = last.tables.iter().map(|table| &table.name).chain(last.views.iter().map(|view| &view.name));
        let rows = catalog::read(clickhouse, &base, known).await?;
        let mut graph = Self::default();
        let Some(row) = rows.get(&base) else { return Ok(graph) };
        // A view would be followed to its target, and rows have to land in a table.
        if let (true, Err(reason)) = (row.is_view(), engine::of_base(&row.engine, "", &Defaults::new())) {
            let (reached, engine) = (in_words(&base, None), row.engine.clone());
            graph.unfit = Some(Unfit::Engine { reached, engine, reason });
            return Ok(graph);
        }
        if let Err(unfit) = graph.visit(&rows, &base, None, &mut Vec::new()) {
            graph.unfit = Some(unfit);
            return Ok(graph);
        }
        graph.sort();
        for copies in graph.tables.iter().filter_map(|table| engine::copies(&table.engine)).collect::<Vec<_>>() {
            if copies != Copies::Shared && !graph.defaults.contains_key(&copies) {
                graph.defaults.insert(copies, catalog::defaults(clickhouse, copies).await?);
            }
        }
        Ok(graph)
    }

    /// Follows one way from the table to all that it leads to.
    fn visit(
        &mut self,
        rows: &Rows,
        at: &TableName,
        by: Option<&TableName>,
        way: &mut Vec<TableName>,
    ) -> Result<(), Unfit> {
        if way.contains(at) {
            return Err(Unfit::Cycle(at.clone()));
        }
        let row = rows.get(at).ok_or_else(|| Unfit::Hidden { reached: in_words(at, by), table: at.clone() })?;
        way.push(at.clone());
        match by {
            None => shorten(&mut self.unchanged_for, row),
            Some(_) if row.is_view() => {}
            Some(_) => shorten(&mut self.targets_unchanged_for, row),
        }
        if row.is_view() {
            // A view that another one writes to hands the rows on to its own target.
            self.visit(rows, &row.target(), by, way)?;
        } else {
            self.reach(row, at, by);
        }
        for name in row.dependants() {
            let hidden = || Unfit::Hidden { reached: format!("view {name} on {at}"), table: name.clone() };
            let view = rows.get(&name).ok_or_else(hidden)?;
            if !view.is_view() {
                let reason = "is not known to count a repeated INSERT once; use a materialized view";
                return Err(Unfit::Engine {
                    reached: format!("view {name} on {at}"),
                    engine: view.engine.clone(),
                    reason,
                });
            }
            shorten(&mut self.unchanged_for, view);
            self.visit(rows, &view.target(), Some(&name), way)?;
            let target = catalog::resolve(rows, view.target());
            let view = View { name, select: view.as_select.clone(), source: at.clone(), target };
            if !self.views.contains(&view) {
                self.views.push(view);
            }
        }
        way.pop();
        Ok(())
    }

    fn reach(&mut self, row: &catalog::Row, at: &TableName, by: Option<&TableName>) {
        if let Some(known) = self.tables.iter_mut().find(|table| table.name == *at) {
            known.ways += 1;
            return;
        }
        self.tables.push(Table {
            name: at.clone(),
            engine: row.engine.clone(),
            engine_full: row.engine_full.clone(),
            partition_key: row.partition_key.clone(),
            definition: row.create_table_query.clone(),
            by: by.cloned(),
            ways: 1,
        });
    }

    /// Puts each table behind all that lead to it.
    fn sort(&mut self) {
        let views = &self.views;
        self.tables.sort_by_key(|table| depth(views, &table.name));
    }

    /// Fails if a table or view in it cannot be used at all.
    pub fn check(&self) -> Result<(), Unfit> {
        self.unfit.clone().map_or(Ok(()), Err)
    }

    /// How long all of it surely remembers a token, if that is long enough.
    pub fn remembered(&self, demand: &Demand) -> Result<Duration, Unfit> {
        self.check()?;
        let (mut least, mut tables) = (u64::MAX, self.tables.iter());
        let none = Defaults::new();
        let defaults = |table: &Table| {
            engine::copies(&table.engine).and_then(|copies| self.defaults.get(&copies)).unwrap_or(&none)
        };
        let refused =
            |table: &Table, reason| Unfit::Engine { reached: table.in_words(), engine: table.engine.clone(), reason };
        if let Some(base) = tables.next() {
            let window = engine::of_base(&base.engine, &base.engine_full, defaults(base));
            least = least.min(base.seconds(&window.map_err(|reason| refused(base, reason))?, demand)?);
        }
        for table in tables {
            let effect = engine::of_target(&table.engine, &table.engine_full, defaults(table));
            if let Effect::Stores(window) = effect.map_err(|reason| refused(table, reason))? {
                least = least.min(table.seconds(&window, demand)?);
            }
        }
        Ok(Duration::from_secs(least))
    }
}

impl Table {
    /// The table as it stands in a message.
    pub fn in_words(&self) -> String {
        in_words(&self.name, self.by.as_ref())
    }

    /// Seconds for which it surely remembers a token.
    fn seconds(&self, window: &Window, demand: &Demand) -> Result<u64, Unfit> {
        let needed = if is_injected(Fault::IgnoreViews) { 0 } else { demand.inserts * self.ways };
        if window.blocks < needed {
            let ways = if self.ways > 1 { format!(", for each of {} views", self.ways) } else { String::new() };
            let (reached, table) = (self.in_words(), self.name.clone());
            return Err(Unfit::Window {
                reached,
                table,
                setting: window.setting,
                remembered: window.blocks,
                needed,
                ways,
            });
        }
        let by_count = window.blocks / (2 * demand.per_second * self.ways);
        match window.seconds {
            Some(seconds) if seconds < demand.seconds => Err(Unfit::Seconds {
                reached: self.in_words(),
                table: self.name.clone(),
                setting: window.seconds_setting,
                remembered: seconds,
                needed: demand.seconds,
            }),
            seconds => Ok(seconds.map_or(by_count, |seconds| by_count.min(seconds))),
        }
    }
}

fn in_words(table: &TableName, by: Option<&TableName>) -> String {
    by.map_or_else(|| format!("table {table}"), |view| format!("table {table}, which view {view} writes to,"))
}

fn shorten(time: &mut Option<Duration>, row: &catalog::Row) {
    let own = Duration::from_secs(u64::try_from(row.unchanged_for).unwrap_or(0));
    *time = Some(time.map_or(own, |time| time.min(own)));
}

/// Views on the longest way to a table. There is no cycle, or it would have been found before.
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

    fn graph(rows: &[Row]) -> Result<ViewGraph, Unfit> {
        let rows = rows.iter().map(|row| (TableName::new("d", &row.name), row.clone())).collect();
        let mut graph = ViewGraph::default();
        graph.visit(&rows, &TableName::new("d", "base"), None, &mut Vec::new())?;
        graph.sort();
        Ok(graph)
    }

    fn judged(rows: &[Row]) -> Result<u64, String> {
        let demand = Demand { per_second: 1, inserts: 20, seconds: 10 };
        let judged = graph(rows).and_then(|graph| graph.remembered(&demand));
        judged.map(|time| time.as_secs()).map_err(|unfit| unfit.to_string())
    }

    #[test]
    fn the_smallest_window_on_any_way_counts() {
        let base = table("base", "MergeTree", LARGE, &["v"]);
        let through = [view("v", "n"), table("n", "Null", "", &["w"]), view("w", "t")];
        let all = |last: Row| judged(&[std::slice::from_ref(&base), &through[..], &[last]].concat());
        assert_eq!(all(table("t", "SummingMergeTree", LARGE, &[])), Ok(500));
        insta::assert_snapshot!(all(table("t", "SummingMergeTree", SMALL, &[])).unwrap_err(), @"table d.t, which view d.w writes to, remembers 10 inserted blocks, and 20 are needed: twice ingest.peak_inserts_per_second for the session and insert timeouts; ALTER TABLE d.t MODIFY SETTING non_replicated_deduplication_window = 20");
        insta::assert_snapshot!(all(table("t", "Memory", "", &[])).unwrap_err(), @"table d.t, which view d.w writes to, has engine Memory, which does not recognise a repeated INSERT; use an engine of the MergeTree family with a deduplication window");
    }

    #[test]
    fn two_views_into_one_table_use_its_window_up_twice_as_fast() {
        let window = |blocks: u64| format!("SETTINGS non_replicated_deduplication_window = {blocks}");
        let judged = |blocks| {
            let base = table("base", "MergeTree", LARGE, &["v", "w"]);
            judged(&[base, view("v", "t"), view("w", "t"), table("t", "MergeTree", &window(blocks), &[])])
        };
        assert_eq!(judged(40), Ok(10));
        assert!(judged(39).unwrap_err().contains("and 40 are needed"));
    }

    #[test]
    fn a_view_into_a_view_goes_on_to_the_table_behind() {
        let base = table("base", "MergeTree", LARGE, &["v", "w"]);
        let rows = [base, view("v", "w"), view("w", "t"), table("t", "MergeTree", LARGE, &[])];
        let graph = graph(&rows).unwrap();
        assert_eq!(graph.tables.iter().map(|table| table.ways).collect::<Vec<_>>(), [1, 2]);
        assert!(graph.views.iter().all(|view| view.target.name == "t"));
    }

    #[test]
    fn a_source_stands_before_its_targets() {
        let base = table("base", "MergeTree", LARGE, &["short", "long"]);
        let first = table("a", "MergeTree", LARGE, &["further"]);
        let last = table("z", "MergeTree", LARGE, &[]);
        let graph = graph(&[base, view("short", "z"), view("long", "a"), first, view("further", "z"), last]).unwrap();
        assert_eq!(graph.tables.iter().map(|table| &*table.name.name).collect::<Vec<_>>(), ["base", "a", "z"]);
    }

    #[test]
    fn what_cannot_be_seen_or_never_ends_is_refused() {
        let base = table("base", "MergeTree", LARGE, &["v"]);
        insta::assert_snapshot!(judged(std::slice::from_ref(&base)).unwrap_err(), @"view d.v on d.base is not visible to this user, so it is unknown whether it recognises a repeated INSERT; GRANT SHOW TABLES ON d.v to the user, or drop the view");
        insta::assert_snapshot!(judged(&[base.clone(), view("v", "t")]).unwrap_err(), @"table d.t, which view d.v writes to, is not visible to this user, so it is unknown whether it recognises a repeated INSERT; GRANT SHOW TABLES ON d.t to the user, or drop the view");
        assert!(judged(&[base.clone(), view("v", "base")]).unwrap_err().contains("form a cycle"));
        let window = Row { engine: "WindowView".to_owned(), ..view("v", "t") };
        assert!(judged(&[base, window]).unwrap_err().contains("view d.v on d.base has engine WindowView"));
    }

    #[test]
    fn a_table_that_forgets_by_time_is_trusted_no_longer_than_that() {
        let settings = |seconds| {
            format!(
                "SETTINGS replicated_deduplication_window = 1000, replicated_deduplication_window_seconds = {seconds}"
            )
        };
        let judged = |seconds| judged(&[table("base", "ReplicatedMergeTree", &settings(seconds), &[])]);
        assert_eq!((judged(3600), judged(60)), (Ok(500), Ok(60)));
        insta::assert_snapshot!(judged(9).unwrap_err(), @"table d.base remembers inserted blocks for 9 s, and 10 s are needed: the session and insert timeouts; ALTER TABLE d.base MODIFY SETTING replicated_deduplication_window_seconds = 10");
    }

    #[test]
    fn names_are_quoted_where_sql_needs_it() {
        assert_eq!(TableName::new("d", "t_1").to_string(), "d.t_1");
        assert_eq!(TableName::new("a-b", ".inner.v").to_string(), "`a-b`.`.inner.v`");
        assert_eq!(TableName::new("d", "a`b").to_string(), "d.`a\\`b`");
    }
}
