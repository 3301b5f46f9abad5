//! The settings of retries. Nothing is retried here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a failed INSERT is retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Number of retries before the partition pauses and probing begins.
    pub quick_retries: u32,
    /// Wait before the first retry; doubled after each further retry.
    #[serde(with = "humantime_serde")]
    pub first_wait: Duration,
    /// Maximum wait between two probes.
    #[serde(with = "humantime_serde")]
    pub longest_wait: Duration,
    /// Wait between two probes while an operator is needed.
    #[serde(with = "humantime_serde")]
    pub operator_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            quick_retries: 3,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(10),
            operator_wait: Duration::from_secs(10),
        }
    }
}
