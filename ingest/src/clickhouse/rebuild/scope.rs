//! The scope of a rebuild: one month of everything that views of a table write to. It sends no queries.

use std::time::Duration;

use super::statement::SCRATCH;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::name::TableName;
use crate::clickhouse::view_graph::{Table, View, ViewGraph};

/// One month of everything that views of a table write to.
pub(super) struct Rebuild<'a> {
    pub(super) clickhouse: &'a ClickHouse,
    pub(super) base: TableName,
    /// The month to rebuild; 0 stands for a table without months.
    pub(super) month: u32,
    pub(super) graph: ViewGraph,
    /// Suffix of the names of the scratch tables, unique to this rebuild.
    pub(super) scratch: String,
    /// Timeout of one statement.
    pub(super) timeout: Duration,
}

impl Rebuild<'_> {
    /// The tables that views write to, each after its sources.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Table> {
        self.graph.tables.iter().filter(|table| table.via.is_some())
    }

    pub(super) fn views_into(&self, target: &TableName) -> impl Iterator<Item = &View> {
        self.graph.views.iter().filter(move |view| view.target == *target)
    }

    /// The base and all targets.
    pub(super) fn stored(&self) -> Vec<TableName> {
        self.graph.tables.iter().map(|table| table.name.clone()).collect()
    }

    /// The scratch table that replaces a target's month.
    pub(super) fn scratch_table(&self, target: &TableName) -> TableName {
        TableName::new(&target.database, format!("{}{SCRATCH}_{}", target.name, self.scratch))
    }
}
