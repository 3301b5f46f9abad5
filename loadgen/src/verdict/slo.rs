//! The verdict on one SLO, from the measurements of its questions.

use std::time::Duration;

use serde::Serialize;

use super::binomial::{self, Verdict};
use super::latency::Latency;
use crate::measure::{Counts, Measured, Recorder, blocks::EffectiveSample};
use crate::question::Question;
use crate::scenario::Slo;

/// One SLO, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// The SLO.
    pub slo: Slo,
    /// Samples of its questions by outcome.
    pub counts: Counts,
    /// The effective sample.
    pub effective: EffectiveSample,
    /// Lower bound of the true share of exceedances.
    pub low: f64,
    /// Upper bound of the true share of exceedances.
    pub high: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, in a few words.
    pub reason: String,
    /// Latencies.
    pub latency: Latency,
}

/// Judges one SLO by the recorders of its questions; recorders of other questions are ignored.
pub fn judge(recorders: &[Recorder], slo: &Slo) -> Judged {
    let of_slo = |recorder: &&Recorder| slo.questions.contains(&recorder.question());
    let mut pooled = recorders.iter().filter(of_slo).map(Recorder::measured).cloned();
    let Some(first) = pooled.next() else { return judge_without_samples(slo) };
    let measured = pooled.fold(first, |mut all, one| {
        all.merge(&one);
        all
    });
    let unsampled = slo.questions.iter().copied().find(|&question| {
        !recorders.iter().any(|recorder| recorder.question() == question && recorder.measured().counts.samples > 0)
    });
    judge_measured(&measured, slo, unsampled)
}

fn judge_without_samples(slo: &Slo) -> Judged {
    judge_measured(&Measured::new(Duration::from_secs(1)), slo, slo.questions.first().copied())
}

fn judge_measured(measured: &Measured, slo: &Slo, unsampled: Option<Question>) -> Judged {
    let limit = 1.0 - slo.objective;
    let effective = measured.blocks.effective(slo.alpha);
    let (low, high) = binomial::bounds(effective.exceedances, effective.samples, slo.alpha);
    let by_samples = binomial::decide(effective.exceedances, effective.samples, limit, slo.alpha);
    let (verdict, reason) = match (measured.counts.wrong, by_samples, unsampled) {
        (0, Verdict::Pass, Some(question)) => (Verdict::Inconclusive, format!("{question} has no samples")),
        (0, verdict, _) => (verdict, reason(verdict, slo, effective, (low, high))),
        (wrong, ..) => (Verdict::Fail, format!("{wrong} wrong answers")),
    };
    Judged {
        slo: slo.clone(),
        counts: measured.counts,
        effective,
        low,
        high,
        verdict,
        reason,
        latency: measured.into(),
    }
}

fn reason(verdict: Verdict, slo: &Slo, effective: EffectiveSample, (low, high): (f64, f64)) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    match verdict {
        Verdict::Pass => format!("at most {} exceed", percent(high)),
        Verdict::Fail => format!("at least {} exceed", percent(low)),
        Verdict::Inconclusive if effective.samples < min_samples(slo) as f64 => {
            format!("an effective sample of {:.0}, a PASS needs {}", effective.samples.floor(), min_samples(slo))
        }
        Verdict::Inconclusive => format!("between {} and {} exceed", percent(low), percent(high)),
    }
}

/// Minimum sample size with which an SLO can pass.
pub(super) fn min_samples(slo: &Slo) -> u64 {
    binomial::min_samples(1.0 - slo.objective, slo.alpha)
}

/// Minimum sample size with which an SLO passes with probability `power` if the true share of exceedances is `truth`.
pub(super) fn samples_needed(slo: &Slo, truth: f64, power: f64) -> u64 {
    binomial::samples_needed(1.0 - slo.objective, slo.alpha, truth, power)
}
