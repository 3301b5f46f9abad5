//! The verdict on availability: the share of probes that were answered.

use serde::Serialize;

use super::binomial::{self, Verdict};
use crate::measure::Recorder;

/// The verdict on availability.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Availability {
    /// Share of probes that must be answered.
    pub objective: f64,
    /// Probes.
    pub samples: u64,
    /// Errors and time-outs.
    pub failed: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, in a few words.
    pub reason: String,
}

/// Judges the share of probes that were answered. A short run can't prove 99.99 % (that takes 29,956 samples without a
/// failure), so failures are counted: PASS if this run met the objective, with the share that it proves as the reason;
/// FAIL if a store that meets the objective would rarely fail so often; INCONCLUSIVE otherwise.
pub fn availability(recorders: &[Recorder], objective: f64) -> Availability {
    const ALPHA: f64 = 0.05;
    let counts = || recorders.iter().map(|recorder| recorder.measured().counts);
    let samples: u64 = counts().map(|counts| counts.samples).sum();
    let failed: u64 = counts().map(|counts| counts.errors + counts.timed_out).sum();
    let limit = 1.0 - objective;
    let (low, high) = binomial::bounds(failed as f64, samples as f64, ALPHA);
    let verdict = if samples > 0 && failed as f64 <= limit * samples as f64 {
        Verdict::Pass
    } else if binomial::decide(failed as f64, samples as f64, limit, ALPHA) == Verdict::Fail {
        Verdict::Fail
    } else {
        Verdict::Inconclusive
    };
    let reason = if verdict == Verdict::Fail {
        format!("at most {:.3} % are answered", (1.0 - low) * 100.0)
    } else {
        format!("this many samples prove {:.3} % at most", (1.0 - high) * 100.0)
    };
    Availability { objective, samples, failed, verdict, reason }
}
