//! How long slowness may last before a verdict is wrong more often than alpha. This module never changes a verdict.
//!
//! A verdict from an effective sample that is larger than necessary would be the same with a smaller one and the same
//! share of exceedances. The smallest one, m, is the number of independent periods that the run must contain: slowness
//! that lasts up to drive / m is excluded. For exceedances with an exponential autocorrelation of time constant t, a run
//! contains drive / (2 t) independent periods. `docs/verdict.md` explains it, `verdict/error_rates.rs` measures it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hypothesis::Hypothesis;
use crate::binomial::{self, Verdict};
use crate::measure::blocks::EffectiveSample;

/// The longest slowness for which a verdict holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Excluded {
    /// Length of a stall.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub stall: Duration,
    /// Correlation time of exceedances.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub correlation: Duration,
}

impl Excluded {
    /// What a decision excludes; `None` without a decision.
    pub(super) fn by(
        verdict: Verdict,
        effective: EffectiveSample,
        hypothesis: Hypothesis,
        drive: Duration,
    ) -> Option<Self> {
        (verdict != Verdict::Inconclusive).then(|| Self::over(periods(verdict, effective, hypothesis), drive))
    }

    /// What a drive excludes that must contain `periods` independent periods.
    pub(super) fn over(periods: f64, drive: Duration) -> Self {
        let stall = Duration::from_millis((drive.as_millis() as f64 / periods) as u64);
        Self { stall, correlation: stall / 2 }
    }
}

/// The smallest effective sample with the same share of exceedances and the same verdict, by bisection.
fn periods(verdict: Verdict, effective: EffectiveSample, hypothesis: Hypothesis) -> f64 {
    let Hypothesis { allowed, alpha, .. } = hypothesis;
    let share = effective.exceedances / effective.samples;
    let (mut low, mut high) = (0.0, effective.samples);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if binomial::decide(share * middle, middle, allowed, alpha) == verdict { high = middle } else { low = middle }
    }
    high.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P95: Hypothesis = Hypothesis { allowed: 0.05, alpha: 0.05, longest_stall: None };

    fn excluded(exceedances: f64, samples: f64) -> Option<u128> {
        let verdict = binomial::decide(exceedances, samples, P95.allowed, P95.alpha);
        let effective = EffectiveSample { samples, exceedances, design_effect: 1.0, taken_from: samples as u64 };
        Excluded::by(verdict, effective, P95, Duration::from_mins(5)).map(|excluded| excluded.stall.as_millis())
    }

    #[test]
    fn the_more_decided_a_verdict_is_the_longer_stalls_it_excludes() {
        // Without exceedances a PASS needs 58.4 periods, whatever the number of samples: drive / 58.4.
        assert_eq!(excluded(0.0, 20_000.0), Some(5_136));
        assert_eq!(excluded(0.0, 60.0), Some(5_136));
        let one_percent = excluded(200.0, 20_000.0).unwrap();
        let four_percent = excluded(800.0, 20_000.0).unwrap();
        assert!(four_percent < one_percent / 10 && one_percent < 5_136, "{one_percent} {four_percent}");
        let a_tenth_fails = excluded(2_000.0, 20_000.0).unwrap();
        assert!(a_tenth_fails < excluded(10_000.0, 20_000.0).unwrap());
        assert_eq!(excluded(1_000.0, 20_000.0), None);
    }
}
