//! How the generator kept up, as a report shows it. It never judges whether that was enough.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::{DurationHistogram, GeneratorHealth, Recorder};

/// The generator's own delays and processors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// 99th percentile of the send lag of all probes, in microseconds.
    pub probe_lag_p99_us: Option<u64>,
    /// 99th percentile of the send lag of writes, without the time that a store held them back, in microseconds.
    pub write_lag_p99_us: Option<u64>,
    /// 99th percentile of the time that its tasks waited for a processor, in microseconds.
    pub task_delay_p99_us: Option<u64>,
    /// The same of the tasks that commit to PostgreSQL.
    pub commit_delay_p99_us: Option<u64>,
    /// Questions and transactions that failed since it may open no more files.
    pub out_of_files: u64,
    /// Whether its threads ran with a raised priority.
    pub priority_is_raised: bool,
    /// Share of all processors that it used, 0 to 1; `None` where the system doesn't tell.
    pub processor_share: Option<f64>,
    /// Share of all processors that the hypervisor took, 0 to 1; `None` where the system doesn't tell.
    pub steal_share: Option<f64>,
}

impl Generator {
    /// From the measurements of a drive.
    pub fn new(recorders: &[Recorder], health: &GeneratorHealth) -> Self {
        let mut probe_lag = DurationHistogram::default();
        for recorder in recorders {
            probe_lag.merge(&recorder.measured().lag);
        }
        let p99 = |lag: &DurationHistogram| lag.quantile(0.99).map(|lag| lag.as_micros() as u64);
        Self {
            probe_lag_p99_us: p99(&probe_lag),
            write_lag_p99_us: p99(&health.write_lag),
            task_delay_p99_us: p99(&health.task_delay),
            commit_delay_p99_us: p99(&health.commit_delay),
            out_of_files: health.out_of_files,
            priority_is_raised: health.priority_is_raised,
            processor_share: health.processor_share,
            steal_share: health.steal_share,
        }
    }
}
