//! PASS, FAIL, INCONCLUSIVE or INVALID: what a run shows about each SLO, and what it shows in all.
//! Measurements go in, verdicts with their reasons come out. Pure; the statistics are explained in `docs/verdicts.md`.

pub mod binomial;
pub mod validity;
mod warnings;

use std::time::Duration;

use serde::Serialize;

use crate::{
    measure::{Counts, Measured, Recorder, blocks::Effective},
    question::Question,
    scenario::Slo,
};
pub use validity::Validity;
pub use warnings::warnings;

/// What a run shows about one objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// The objective is met; the chance that it is not and the run looked so good is at most alpha.
    Pass,
    /// The objective is missed; the chance that it is met and the run looked so bad is at most alpha.
    Fail,
    /// The samples don't decide.
    Inconclusive,
}

/// What a run shows in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Overall {
    /// Every objective is met.
    Pass,
    /// An objective is missed, an answer was wrong, or the account does not balance.
    Fail,
    /// Something is undecided and nothing failed.
    Inconclusive,
    /// The generator was at fault, so nothing can be said about the stores.
    Invalid,
}

/// One SLO, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// The SLO.
    pub slo: Slo,
    /// How the samples of its questions ended.
    pub counts: Counts,
    /// What they are worth.
    pub effective: Effective,
    /// Lower bound of the true share of exceedances.
    pub low: f64,
    /// Upper bound of the true share of exceedances.
    pub high: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in a few words.
    pub reason: String,
    /// Latencies.
    pub latency: Latency,
}

/// The latencies that people ask for; `None` where no answer was measured, which is no latency of zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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

impl From<&Measured> for Latency {
    fn from(measured: &Measured) -> Self {
        let micros = |duration: Duration| duration.as_micros() as u64;
        let quantile = |q| measured.latency.quantile(q).map(micros);
        Self {
            p50_us: quantile(0.5),
            p95_us: quantile(0.95),
            p99_us: quantile(0.99),
            max_us: measured.latency.max().map(micros),
        }
    }
}

/// Judges one SLO by the recorders of its questions; those of other questions are passed over.
pub fn judge(recorders: &[Recorder], slo: &Slo) -> Judged {
    let of_slo = |recorder: &&Recorder| slo.questions.contains(&recorder.question());
    let mut pooled = recorders.iter().filter(of_slo).map(Recorder::measured).cloned();
    let Some(first) = pooled.next() else { return unasked(slo) };
    let measured = pooled.fold(first, |mut all, one| {
        all.merge(&one);
        all
    });
    let silent = slo.questions.iter().copied().find(|&question| {
        !recorders.iter().any(|recorder| recorder.question() == question && recorder.measured().counts.samples > 0)
    });
    judge_measured(&measured, slo, silent)
}

fn unasked(slo: &Slo) -> Judged {
    judge_measured(&Measured::over(Duration::from_secs(1)), slo, slo.questions.first().copied())
}

fn judge_measured(measured: &Measured, slo: &Slo, silent: Option<Question>) -> Judged {
    let limit = 1.0 - slo.objective;
    let effective = measured.blocks.effective(slo.alpha);
    let (low, high) = binomial::bounds(effective.exceedances, effective.samples, slo.alpha);
    let by_samples = binomial::decide(effective.exceedances, effective.samples, limit, slo.alpha);
    let (verdict, reason) = match (measured.counts.wrong, by_samples, silent) {
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

fn reason(verdict: Verdict, slo: &Slo, effective: Effective, (low, high): (f64, f64)) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    match verdict {
        Verdict::Pass => format!("at most {} exceed", percent(high)),
        Verdict::Fail => format!("at least {} exceed", percent(low)),
        Verdict::Inconclusive if effective.samples < least_samples(slo) as f64 => {
            format!("worth {:.0} samples, a PASS needs {}", effective.samples.floor(), least_samples(slo))
        }
        Verdict::Inconclusive => format!("between {} and {} exceed", percent(low), percent(high)),
    }
}

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

/// Fewest samples with which an SLO can pass at all.
pub fn least_samples(slo: &Slo) -> u64 {
    binomial::least_samples(1.0 - slo.objective, slo.alpha)
}

/// Fewest samples with which an SLO passes with probability `power` when the true share of exceedances is `truth`.
pub fn samples_needed(slo: &Slo, truth: f64, power: f64) -> u64 {
    binomial::samples_needed(1.0 - slo.objective, slo.alpha, truth, power)
}

/// Everything that the overall verdict depends on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Findings {
    /// Each SLO.
    pub slos: Vec<Judged>,
    /// Availability.
    pub availability: Availability,
    /// Whether the generator did its part.
    pub validity: Validity,
    /// What fails a run whatever its speed, one sentence each: wrong answers, an account that does not balance, a
    /// process under test that died.
    pub failures: Vec<String>,
}

impl Findings {
    /// The verdict on the run. A failure counts even in an invalid run, since no late probe loses a record or makes an
    /// answer wrong; an invalid run says nothing about speed, so it outranks the SLOs.
    pub fn overall(&self) -> Overall {
        let verdicts = || self.slos.iter().map(|judged| judged.verdict).chain([self.availability.verdict]);
        let wrong = self.slos.iter().any(|judged| judged.counts.wrong > 0);
        if wrong || !self.failures.is_empty() {
            Overall::Fail
        } else if self.validity != Validity::Valid {
            Overall::Invalid
        } else if verdicts().any(|verdict| verdict == Verdict::Fail) {
            Overall::Fail
        } else if self.slos.is_empty() || verdicts().any(|verdict| verdict == Verdict::Inconclusive) {
            Overall::Inconclusive
        } else {
            Overall::Pass
        }
    }
}

#[cfg(test)]
mod tests;
