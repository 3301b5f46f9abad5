//! The test of one SLO, from the measurements of its questions. It makes no correction for the number of SLOs.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hypothesis::Hypothesis;
use super::latency::Latency;
use super::proportion::Proportion;
use super::reason::Bad;
use crate::binomial::Verdict;
use crate::measure::blocks::Blocks;
use crate::measure::{Counts, Recorder, SloRecorder};
use crate::number::{counted, separated};
use crate::population::TenantClass;
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
pub(super) fn test(scenario: &Scenario, recorder: &SloRecorder) -> Judged {
    let (slo, measured) = (recorder.slo(), recorder.measured());
    let blocks = &measured.blocks;
    let produced = lowest_rate(slo, blocks) * scenario.watched_event_in() as f64;
    let hypothesis = hypothesis(slo, produced);
    let mut test = match slo.in_every {
        Some(window) => Proportion::test_windows(blocks, window, hypothesis, Bad::Exceedances),
        None => Proportion::test(blocks, hypothesis, Bad::Exceedances),
    };
    if let Some(least) = slo.at_least {
        apply_rate(&mut test, least, produced);
    }
    Judged { slo: slo.clone(), counts: measured.counts, test, latency: (&measured.latency).into() }
}

/// The samples per second, of the window with the fewest if the SLO must hold in each.
fn lowest_rate(slo: &Slo, blocks: &Blocks) -> f64 {
    let rate = |blocks: &Blocks| blocks.samples() as f64 / blocks.drive().as_secs_f64();
    let windows = slo.in_every.map(|window| blocks.windows(window)).unwrap_or_default();
    windows.iter().map(|(_, blocks)| rate(blocks)).reduce(f64::min).unwrap_or_else(|| rate(blocks))
}

/// Adds the rate to the reason. A drive that produced too little can't show the rate, whatever became visible.
fn apply_rate(test: &mut Proportion, least: f64, produced: f64) {
    let [least_text, produced_text] = [least, produced].map(|rate| separated(rate as u64));
    if produced > least {
        let visible = separated((produced * (1.0 - test.high)) as u64);
        test.reason =
            format!("{}; {produced_text} events/s were produced, at least {visible} visible in time", test.reason);
    } else if test.verdict != Verdict::Fail {
        test.withdraw(format!("the drive produced {produced_text} events/s, which can't show {least_text}"));
    }
}

/// Applies what no statistics outweigh: wrong answers fail, and a question without samples never passes.
pub(super) fn apply_rules(judged: &mut Judged, recorders: &[Recorder]) {
    let wrong = judged.counts.wrong;
    if wrong > 0 {
        (judged.test.verdict, judged.test.excluded) = (Verdict::Fail, None);
        judged.test.reason = counted(wrong, "wrong answer");
    } else if judged.test.verdict == Verdict::Pass
        && let Some(question) = unsampled(&judged.slo, recorders)
    {
        judged.test.withdraw(format!("{question} has no samples"));
    }
}

/// All failures of a run, each once: those that were found, since every step that uses an unavailable store reports it, and
/// [`wrong_without_slo`].
pub fn failures(found: Vec<String>, scenario: &Scenario, recorders: &[Recorder]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut failures: Vec<String> = found.into_iter().chain(wrong_without_slo(scenario, recorders)).collect();
    failures.retain(|failure| seen.insert(failure.clone()));
    failures
}

/// One sentence for each question that was answered wrong and that no SLO judges for some tenants: it fails the run all the
/// same.
pub fn wrong_without_slo(scenario: &Scenario, recorders: &[Recorder]) -> Vec<String> {
    let is_judged = |recorder: &Recorder, class| {
        let (question, users) = (recorder.question(), recorder.users());
        scenario.slos.iter().any(|slo| slo.judges(question, class, users))
    };
    let unjudged = recorders.iter().filter_map(|recorder| {
        let classes = TenantClass::ALL.into_iter().filter(|&class| !is_judged(recorder, class)).count();
        (classes > 0).then_some((recorder, classes == TenantClass::ALL.len()))
    });
    let wrong = unjudged.map(|(recorder, all)| (recorder.question(), recorder.measured().counts.wrong, all));
    wrong
        .filter(|(_, wrong, _)| *wrong > 0)
        .map(|(question, wrong, all)| {
            let of_some = if all { "" } else { " for every tenant" };
            format!("{} to {question}, which no SLO judges{of_some}", counted(wrong, "wrong answer"))
        })
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

/// What an SLO is tested for if `produced` events per second are produced.
pub(super) fn hypothesis(slo: &Slo, produced: f64) -> Hypothesis {
    Hypothesis { allowed: slo.allowed(produced), alpha: slo.alpha, longest_stall: slo.longest_stall }
}
