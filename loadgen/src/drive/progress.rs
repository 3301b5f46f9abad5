//! Snapshots of a running drive, for the terminal. Publishing one never waits for a reader.

use std::time::Duration;

use crate::plan::Totals;

/// The phase of a drive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Expected answers are counted and connections opened.
    #[default]
    Preparing,
    /// Questions are asked, and answers are not recorded.
    WarmUp,
    /// Writes and probes run at their intended starts.
    Driving,
    /// Acknowledgements and answers in flight are awaited.
    Flushing,
}

/// A snapshot of a drive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Time in this phase.
    pub elapsed: Duration,
    /// Length of this phase, if known.
    pub length: Duration,
    /// Writes handed to the stores so far.
    pub sent: Totals,
    /// Writes that their stores have acknowledged.
    pub acknowledged: Totals,
    /// Writes and probes never started because a store pushed back.
    pub held_back: u64,
    /// Probes in flight.
    pub in_flight: u64,
    /// Progress of each SLO, in the scenario's order.
    pub slos: Vec<SloProgress>,
}

/// Measurements of one SLO so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SloProgress {
    /// Name of the SLO.
    pub name: String,
    /// Probes that have ended.
    pub samples: u64,
    /// Probes that exceeded the limit, errors and time-outs included.
    pub exceedances: u64,
    /// Errors and time-outs.
    pub failed: u64,
    /// Wrong answers.
    pub wrong: u64,
    /// The 95th percentile of the latencies; `None` before the first answer.
    pub p95: Option<Duration>,
    /// The 99th percentile of the send lag: how late the generator itself is.
    pub lag_p99: Option<Duration>,
}
