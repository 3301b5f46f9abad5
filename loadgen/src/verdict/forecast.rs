//! What a drive can decide about an SLO, before it runs: from the last measurement of the same SLO, or from a stated
//! assumption. A forecast never changes a verdict.

use std::time::Duration;

use super::excluded::Excluded;
use super::slo::hypothesis;
use crate::binomial;
use crate::scenario::{Scenario, Slo};

/// The probability with which a drive of the length that is forecast, or advised, decides.
pub(super) const POWER: f64 = 0.9;
/// The part of the allowed exceedances that a store has if nothing is known about it.
const ASSUMED_PART: f64 = 0.25;
/// Samples that count as one if nothing is known about their correlation.
const ASSUMED_CORRELATION: f64 = 2.0;

/// What is known about the samples of an SLO.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Behavior {
    /// Share of exceedances, 0 to 1.
    pub share: f64,
    /// Samples that count as one effective sample; 1 if they are independent.
    pub correlation: f64,
    /// Whether this was measured; otherwise it is assumed.
    pub is_measured: bool,
}

impl Behavior {
    /// The behavior that a run measured: `exceedances` of `effective` effective samples, from `samples` in all.
    pub fn measured(samples: u64, effective: f64, exceedances: f64) -> Self {
        // Half an exceedance more than seen (Jeffreys' prior): a run without one doesn't prove that there are none.
        let share = (exceedances + 0.5) / (effective + 1.0);
        Self { share, correlation: (samples as f64 / effective.max(1.0)).max(1.0), is_measured: true }
    }

    /// What it is based on, in a few words.
    pub fn basis(&self) -> &'static str {
        if self.is_measured { "estimated from the last run" } else { "assumed" }
    }

    /// A quarter of the allowed exceedances, and two samples that count as one.
    fn assumed(allowed: f64) -> Self {
        Self { share: allowed * ASSUMED_PART, correlation: ASSUMED_CORRELATION, is_measured: false }
    }
}

/// What a drive can decide about one SLO.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Name of the SLO.
    pub slo: String,
    /// What the forecast is based on.
    pub behavior: Behavior,
    /// Share of exceedances that is allowed, at the planned rate of events.
    pub allowed: f64,
    /// Planned samples.
    pub samples: u64,
    /// How many independent samples they are worth.
    pub effective: f64,
    /// Effective samples that a decision needs, nine times in ten.
    pub needed: Option<u64>,
    /// The drive, or the window of an SLO that must hold in each, that decides nine times in ten;
    /// `None` if none does: the store is at its limit, or the rate is too low for a single sample.
    pub time_to_decision: Option<Duration>,
    /// What a PASS without an exceedance excludes; the more exceed, the less.
    pub excludes_at_best: Excluded,
}

impl Forecast {
    /// Whether a run probably decides, if so much time is judged.
    pub fn is_decided(&self, judged: Duration) -> bool {
        self.time_to_decision.is_some_and(|time| time <= judged)
    }
}

/// The forecast of one SLO of a scenario, from what was measured before, if anything was.
pub fn forecast(scenario: &Scenario, slo: &Slo, measured: Option<Behavior>) -> Forecast {
    let samples = scenario.planned_samples(slo);
    let judged = scenario.judged_over(slo);
    let rate = samples as f64 / scenario.duration.as_secs_f64();
    let hypothesis = hypothesis(slo, scenario.planned_event_rate(slo));
    let behavior = measured.unwrap_or_else(|| Behavior::assumed(hypothesis.allowed));
    let at_most = slo.longest_stall.map_or(f64::INFINITY, |stall| judged.div_duration_f64(stall));
    let needed = binomial::samples_to_decide(hypothesis.allowed, slo.alpha, behavior.share, POWER);
    let time_to_decision = needed.and_then(|needed| {
        // Without samples, no time is long enough.
        let by_rate = Duration::try_from_secs_f64(needed as f64 * behavior.correlation / rate).ok()?;
        Some(by_rate.max(slo.longest_stall.map_or(Duration::ZERO, |stall| stall.mul_f64(needed as f64))))
    });
    let best = binomial::min_samples(hypothesis.allowed, slo.alpha) as f64;
    Forecast {
        slo: slo.name.clone(),
        behavior,
        allowed: hypothesis.allowed,
        samples,
        effective: (rate * judged.as_secs_f64() / behavior.correlation).min(at_most),
        needed,
        time_to_decision,
        excludes_at_best: Excluded::over(best, judged),
    }
}
