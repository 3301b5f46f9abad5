//! The settings of the circuit breaker. Plain data.

use serde::{Deserialize, Serialize};

/// When so many records cannot land that a partition stops accepting records, see [`crate::dead_letter::breaker`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Whether it ever stops a partition.
    pub enabled: bool,
    /// Number of most recent records that are considered.
    pub window: usize,
    /// It trips when more than this percentage of them was rejected,
    pub percent: u8,
    /// and at least this many of them;
    pub rejected: usize,
    /// or when this many were rejected consecutively.
    pub consecutive: usize,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { enabled: true, window: 1000, percent: 50, rejected: 200, consecutive: 500 }
    }
}
