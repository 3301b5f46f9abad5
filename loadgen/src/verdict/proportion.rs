//! The test of one objective: whether the share of bad samples is at most the allowed one. It knows neither stores nor
//! latencies.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::excluded::Excluded;
use super::hypothesis::Hypothesis;
use super::reason::{self, Bad};
use crate::binomial::{self, Verdict};
use crate::measure::blocks::{Blocks, EffectiveSample};
use crate::scenario::brief_duration;

/// The outcome of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proportion {
    /// Share of bad samples that the test allows: that of the objective, or less if a rate must be reached.
    pub allowed: f64,
    /// The effective sample.
    pub effective: EffectiveSample,
    /// Lower bound of the true share of bad samples.
    pub low: f64,
    /// Upper bound of the true share of bad samples.
    pub high: f64,
    /// Probability of at least this many bad samples if the objective were met: a FAIL needs a small one.
    pub fail_probability: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// The longest slowness for which the verdict holds; `None` without a decision.
    pub excluded: Option<Excluded>,
    /// The reason, in a few words.
    pub reason: String,
}

impl Proportion {
    /// Tests the samples of `blocks`; `bad` is what the reason calls bad ones.
    pub(super) fn test(blocks: &Blocks, hypothesis: Hypothesis, bad: Bad) -> Self {
        Self::test_over("drive", blocks, hypothesis, bad)
    }

    /// The same over a drive or a window, as the reason calls it.
    fn test_over(period: &str, blocks: &Blocks, hypothesis: Hypothesis, bad: Bad) -> Self {
        let Hypothesis { allowed, alpha, longest_stall } = hypothesis;
        let effective = blocks.effective(alpha, longest_stall);
        let EffectiveSample { samples, exceedances, .. } = effective;
        let (low, high) = binomial::bounds(exceedances, samples, alpha);
        let verdict = binomial::decide(exceedances, samples, allowed, alpha);
        let excluded = Excluded::by(verdict, effective, hypothesis, blocks.drive());
        let fail_probability = binomial::at_least(exceedances, samples, allowed);
        // A difference from 1 has a rounding error, which no reader wants to see.
        let allowed = (allowed * 1e9).round() / 1e9;
        let mut test =
            Self { allowed, effective, low, high, fail_probability, verdict, excluded, reason: String::new() };
        test.reason = reason::explain(&test, (blocks, period), hypothesis, bad);
        test
    }

    /// The effective sample in whole samples; `None` if it is only bounded by the samples themselves: without a bad one, nothing
    /// shows how they depend on each other.
    pub(crate) fn effective_samples(&self) -> Option<u64> {
        let EffectiveSample { samples, exceedances, taken_from, .. } = self.effective;
        (exceedances > 0.0 || samples < taken_from as f64).then_some(samples as u64)
    }

    /// Whether the effective sample is so small that not even one without a bad sample passes at that alpha.
    pub(crate) fn has_too_few_samples(&self, alpha: f64) -> bool {
        self.effective.samples < binomial::min_samples(self.allowed, alpha) as f64
    }

    /// Tests every window of that length: PASS if each passes, FAIL if one fails with the correction for their number
    /// (Bonferroni). Shows the worst window.
    pub(super) fn test_windows(blocks: &Blocks, window: Duration, hypothesis: Hypothesis, bad: Bad) -> Self {
        let windows = blocks.windows(window);
        let count = windows.len() as f64;
        let tests = windows
            .iter()
            .map(|(from, blocks)| (*from, *from + blocks.drive(), Self::test_over("window", blocks, hypothesis, bad)));
        let worst = tests.max_by(|(.., one), (.., two)| one.badness().total_cmp(&two.badness()));
        let Some((from, to, mut worst)) = worst else { return Self::test(blocks, hypothesis, bad) };
        worst.fail_probability = (worst.fail_probability * count).min(1.0);
        let [from, to] = [from, to].map(brief_duration);
        if worst.verdict == Verdict::Fail && worst.fail_probability > hypothesis.alpha {
            let probability = worst.fail_probability * 100.0;
            worst.withdraw(format!(
                "it would FAIL alone, but one of {count} windows is this bad by chance: {probability:.1} %"
            ));
        }
        worst.reason = format!("{} (the worst window, from {from} to {to})", worst.reason);
        worst
    }

    /// Orders windows: by the verdict, then by the upper bound of the share.
    fn badness(&self) -> f64 {
        let verdict = match self.verdict {
            Verdict::Pass => 0.0,
            Verdict::Inconclusive => 2.0,
            Verdict::Fail => 4.0,
        };
        // Among windows that fail, the least probable one decides.
        verdict + if self.verdict == Verdict::Fail { 1.0 - self.fail_probability } else { self.high }
    }

    /// Withdraws a decision, for another reason.
    pub(super) fn withdraw(&mut self, reason: String) {
        (self.verdict, self.excluded, self.reason) = (Verdict::Inconclusive, None, reason);
    }
}
