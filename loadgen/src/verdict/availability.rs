//! The verdict on availability: how many probes were answered at all, by count.

use serde::Serialize;

use super::binomial::{self, Verdict};
use crate::measure::Recorder;

/// Availability, by count: see [`availability`].
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
    /// Why, in a few words.
    pub reason: String,
}

/// Judges how many probes were answered at all. 99.99 % can't be proven by a short run (29,956 samples without a
/// failure are needed), so this one is counted: PASS if the run itself kept the objective, and the reason says how much
/// that shows; FAIL if a store that keeps it would hardly fail so often; INCONCLUSIVE in between.
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
        format!("so many samples show {:.3} % at best", (1.0 - high) * 100.0)
    };
    Availability { objective, samples, failed, verdict, reason }
}
