//! What a worker did, by topic. Plain data.

use std::collections::BTreeMap;

/// What was done, by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Counts by topic, with its namespace.
    pub topics: BTreeMap<String, Counts>,
    /// Whether `drain_deadline` passed before all that was taken in was written and committed; it is consumed again.
    pub is_late: bool,
}

/// What became of the records of a topic while the worker ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken in.
    pub consumed: u64,
    /// Acknowledged by ClickHouse.
    pub landed: u64,
    /// Acknowledged by the dead-letter topic.
    pub dead_lettered: u64,
}
