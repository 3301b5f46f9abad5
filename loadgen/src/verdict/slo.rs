//! The test of one SLO, from the measurements of its questions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binomial::{self, Verdict};
use super::hypothesis::Hypothesis;
use super::latency::Latency;
use super::proportion::Proportion;
use crate::measure::{Counts, Recorder, SloRecorder};
use crate::question::Question;
use crate::scenario::{Scenario, Slo};

/// One SLO, judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// The SLO.
    pub slo: Slo,
    /// Samples of its questions by outcome.
    pub counts: Counts,
    /// The test of its exceedances, and the verdict.
    #[serde(flatten)]
    pub test: Proportion,
    /// Latencies.
    pub latency: Latency,
}

/// Tests one SLO.
pub(super) fn test(recorder: &SloRecorder) -> Judged {
    let (slo, measured) = (recorder.slo(), recorder.measured());
    let (blocks, hypothesis) = (&measured.blocks, hypothesis(slo));
    let test = match slo.in_every {
        Some(window) => Proportion::test_windows(blocks, window, hypothesis, "exceed"),
        None => Proportion::test(blocks, hypothesis, "exceed"),
    };
    Judged { slo: slo.clone(), counts: measured.counts, test, latency: (&measured.latency).into() }
}

/// Applies what no statistics outweigh: wrong answers fail, and a question without samples never passes.
pub(super) fn apply_rules(judged: &mut Judged, recorders: &[Recorder]) {
    let wrong = judged.counts.wrong;
    if wrong > 0 {
        (judged.test.verdict, judged.test.excluded) = (Verdict::Fail, None);
        judged.test.reason = format!("{wrong} wrong answers");
    } else if judged.test.verdict == Verdict::Pass
        && let Some(question) = unsampled(&judged.slo, recorders)
    {
        judged.test.withdraw(format!("{question} has no samples"));
    }
}

/// One sentence for each question that no SLO judges and that was answered wrong: it fails the run all the same.
pub fn wrong_without_slo(scenario: &Scenario, recorders: &[Recorder]) -> Vec<String> {
    let unjudged =
        recorders.iter().filter(|recorder| scenario.slos_of(recorder.question(), recorder.users()).next().is_none());
    let wrong = unjudged.map(|recorder| (recorder.question(), recorder.measured().counts.wrong));
    wrong
        .filter(|(_, wrong)| *wrong > 0)
        .map(|(question, wrong)| format!("{wrong} answers to {question} were wrong, which no SLO judges"))
        .collect()
}

fn unsampled(slo: &Slo, recorders: &[Recorder]) -> Option<Question> {
    let has_samples = |question| {
        recorders.iter().any(|recorder| {
            slo.is_about(question, recorder.users())
                && recorder.question() == question
                && recorder.measured().counts.samples > 0
        })
    };
    slo.questions.iter().copied().find(|&question| !has_samples(question))
}

pub(super) fn hypothesis(slo: &Slo) -> Hypothesis {
    Hypothesis { allowed: 1.0 - slo.objective, alpha: slo.alpha, longest_stall: slo.longest_stall }
}

/// Minimum sample size with which an SLO can pass.
pub(super) fn min_samples(slo: &Slo) -> u64 {
    binomial::min_samples(1.0 - slo.objective, slo.alpha)
}
