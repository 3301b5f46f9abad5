//! The result of a worker's run. It says nothing about earlier runs.

use std::collections::BTreeMap;

/// The result of a worker's run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Counts by topic, with its namespace.
    pub topics: BTreeMap<String, Counts>,
    /// Whether `drain_deadline` passed before all consumed records were written and committed; the remaining records are
    /// consumed again.
    pub is_late: bool,
}

/// Numbers of records of a topic that the worker processed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records consumed.
    pub consumed: u64,
    /// Records acknowledged by ClickHouse, or found in the table.
    pub landed: u64,
    /// Records acknowledged by the dead-letter topic.
    pub dead_lettered: u64,
}
