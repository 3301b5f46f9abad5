//! The percentiles that a report shows. They inform; no verdict depends on them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::DurationHistogram;

/// Percentiles of the latency; `None` if no answer was measured, which is not a latency of zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// Median, in microseconds.
    pub p50_us: Option<u64>,
    /// 95th percentile, in microseconds.
    pub p95_us: Option<u64>,
    /// 99th percentile, in microseconds.
    pub p99_us: Option<u64>,
    /// Longest, in microseconds.
    pub max_us: Option<u64>,
}

impl Latency {
    /// Its columns in a table: p50, p95, p99 and the longest, in microseconds.
    pub fn columns(&self) -> [Option<u64>; 4] {
        [self.p50_us, self.p95_us, self.p99_us, self.max_us]
    }
}

impl From<&DurationHistogram> for Latency {
    fn from(histogram: &DurationHistogram) -> Self {
        let micros = |duration: Duration| duration.as_micros() as u64;
        let quantile = |q| histogram.quantile(q).map(micros);
        Self {
            p50_us: quantile(0.5),
            p95_us: quantile(0.95),
            p99_us: quantile(0.99),
            max_us: histogram.max().map(micros),
        }
    }
}
