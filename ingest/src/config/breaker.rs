//! The settings of the circuit breaker. This module judges no record.

use serde::{Deserialize, Serialize};

/// When records that cannot land stop a partition, see [`crate::dead_letter::breaker`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Whether the breaker ever stops a partition.
    pub enabled: bool,
    /// Number of most recent records that are considered.
    pub window: usize,
    /// Percentage of the window: the breaker trips if more of its records, and at least `rejected`, were rejected.
    pub percent: u8,
    /// Minimum number of rejected records in the window for the breaker to trip.
    pub rejected: usize,
    /// Number of consecutive rejected records that trips the breaker regardless of the window.
    pub consecutive: usize,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { enabled: true, window: 1000, percent: 50, rejected: 200, consecutive: 500 }
    }
}
