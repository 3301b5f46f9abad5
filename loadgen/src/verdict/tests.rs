//! Verdicts on synthetic measurements.

use std::time::Duration;

use sluice_schemas::Store;

use super::*;
use crate::{
    measure::{Outcome, Recorder, Sample, WriteRecorder},
    question::Question,
    scenario::{Availability as Objective, Scenario, Slo, Undecided},
};

fn scenario() -> Scenario {
    Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
}

/// `samples` answers to searches, spread evenly over the drive; `answer` returns the outcome and latency (ms) of each.
fn searches(samples: u64, mut answer: impl FnMut(u64) -> (Outcome, u64)) -> Recorder {
    let scenario = scenario();
    let mut recorder = Recorder::new(Question::Search, scenario.limit_of(Question::Search), scenario.duration);
    for i in 0..samples {
        let (outcome, millis) = answer(i);
        let intended = scenario.duration.mul_f64(i as f64 / samples as f64);
        recorder.record(Sample { intended, lag: Duration::ZERO, latency: Duration::from_millis(millis), outcome });
    }
    recorder
}

fn search_slo() -> Slo {
    scenario().slos.into_iter().find(|slo| slo.name == "search").unwrap()
}

/// The smoke scenario with these SLOs.
fn with_slos(slos: Vec<Slo>) -> Scenario {
    Scenario { slos, ..scenario() }
}

fn judge_slo(recorders: &[Recorder], slo: Slo) -> Judged {
    judge(&with_slos(vec![slo]), recorders, &[]).0.remove(0)
}

fn verdict(recorder: Recorder) -> Verdict {
    judge_slo(&[recorder], search_slo()).test.verdict
}

#[test]
fn fast_passes_slow_fails_and_few_samples_do_not_decide() {
    assert_eq!(verdict(searches(1_500, |_| (Outcome::Correct, 5))), Verdict::Pass);
    assert_eq!(verdict(searches(1_500, |i| (Outcome::Correct, if i % 10 == 0 { 300 } else { 5 }))), Verdict::Fail);
    assert_eq!(
        verdict(searches(1_500, |i| (Outcome::Correct, if i % 21 == 0 { 300 } else { 5 }))),
        Verdict::Inconclusive
    );
    assert_eq!(verdict(searches(50, |_| (Outcome::Correct, 5))), Verdict::Inconclusive);
}

#[test]
fn one_wrong_answer_fails_however_fast() {
    let judged =
        judge_slo(&[searches(1_500, |i| (if i == 7 { Outcome::Wrong } else { Outcome::Correct }, 1))], search_slo());
    assert_eq!((judged.test.verdict, judged.test.reason.as_str()), (Verdict::Fail, "1 wrong answers"));
}

#[test]
fn a_wrong_answer_to_a_question_without_an_slo_is_a_failure_too() {
    let wrong = [searches(1_500, |i| (if i == 7 { Outcome::Wrong } else { Outcome::Correct }, 1))];
    let judged = scenario();
    let unjudged = with_slos(Vec::new());
    assert_eq!(wrong_without_slo(&judged, &wrong), [""; 0]);
    assert_eq!(wrong_without_slo(&unjudged, &wrong), ["1 answers to search were wrong, which no SLO judges"]);
}

#[test]
fn a_store_that_fails_halfway_fails_by_its_errors() {
    let broken = searches(1_500, |i| (if i >= 750 { Outcome::Error } else { Outcome::Correct }, 1));
    let (slos, availability) = judge(&with_slos(vec![search_slo()]), &[broken], &[]);
    assert_eq!((slos[0].test.verdict, availability[0].test.verdict), (Verdict::Fail, Verdict::Fail));
}

#[test]
fn an_slo_with_an_unsampled_question_never_passes() {
    let slo = Slo { questions: vec![Question::Search, Question::Timeline], ..search_slo() };
    let judged = judge_slo(&[searches(1_500, |_| (Outcome::Correct, 5))], slo.clone());
    assert_eq!((judged.test.verdict, judged.test.reason.as_str()), (Verdict::Inconclusive, "timeline has no samples"));
    assert_eq!(judge_slo(&[], slo).test.verdict, Verdict::Inconclusive);
}

/// The availability of Elasticsearch after this many searches, of which `failures` spread evenly over the drive failed.
fn availability_of(samples: u64, failures: u64) -> Availability {
    let fails = |i| failures > 0 && i % (samples / failures) == 0 && i / (samples / failures) < failures;
    let searches = searches(samples, |i| (if fails(i) { Outcome::TimedOut } else { Outcome::Correct }, 1));
    judge(&with_slos(Vec::new()), &[searches], &[]).1.remove(0)
}

#[test]
fn availability_is_tested_as_every_other_objective() {
    let few = availability_of(9_000, 0);
    assert_eq!((few.store, few.test.verdict), (Store::Elasticsearch, Verdict::Inconclusive));
    assert_eq!(few.test.reason, "an effective sample of 9000 can't show 99.99 %; that needs 29956");
    assert_eq!(availability_of(30_000, 0).test.verdict, Verdict::Pass);
    assert_eq!(availability_of(30_000, 1).test.verdict, Verdict::Inconclusive);
    assert_eq!(availability_of(9_000, 20).test.verdict, Verdict::Fail);
}

#[test]
fn writes_count_for_the_availability_of_their_store() {
    let drive = scenario().duration;
    let written = |failed: u64, first_failed: u64| {
        let mut writes = WriteRecorder::with_first_attempts(Store::Postgres, drive);
        for i in 0..40_000_u64 {
            let at = drive.mul_f64(i as f64 / 40_000.0);
            writes.record_first_attempt(at, i % 400 < first_failed);
            writes.record(at, i % 400 < failed);
        }
        let objective = Objective { first_attempts: Some(0.999), ..Objective::default() };
        let scenario = Scenario { availability: objective, ..with_slos(Vec::new()) };
        let (_, judged) = judge(&scenario, &[], &[writes]);
        judged.iter().map(|one| (one.subject, one.failed, one.test.verdict)).collect::<Vec<_>>()
    };
    let (operations, first) = (Subject::Operations, Subject::FirstAttempts);
    assert_eq!(written(0, 0), [(operations, 0, Verdict::Pass), (first, 0, Verdict::Pass)]);
    assert_eq!(written(0, 2), [(operations, 0, Verdict::Pass), (first, 200, Verdict::Fail)]);
    assert_eq!(written(2, 2), [(operations, 200, Verdict::Fail), (first, 200, Verdict::Fail)]);
}

#[test]
fn one_of_many_objectives_at_its_limit_does_not_fail_the_run_by_chance() {
    // A share of 6.5 % of 1,500 samples: a probability of 0.6 % at a limit of 5 %.
    let slow = || searches(1_500, |i| (Outcome::Correct, if i * 13 % 200 < 13 { 300 } else { 5 }));
    let names = |count: usize| (0..count).map(|i| Slo { name: format!("search-{i}"), ..search_slo() });
    let (alone, _) = judge(&with_slos(names(1).collect()), &[slow()], &[]);
    assert_eq!(alone[0].test.verdict, Verdict::Fail, "{:?}", alone[0].test);
    // Nineteen more objectives that are met by far, on another question.
    let met = names(20).skip(1).map(|slo| Slo { questions: vec![Question::LookupById], ..slo });
    let mut fast = Recorder::new(Question::LookupById, None, scenario().duration);
    for i in 0..1_500_u64 {
        let intended = scenario().duration.mul_f64(i as f64 / 1_500.0);
        let latency = Duration::from_millis(1);
        fast.record(Sample { intended, lag: Duration::ZERO, latency, outcome: Outcome::Correct });
    }
    let (many, _) = judge(&with_slos(names(1).chain(met).collect()), &[slow(), fast], &[]);
    assert_eq!(many[0].test.verdict, Verdict::Inconclusive, "{:?}", many[0].test);
    assert!(
        many[0].test.reason.starts_with("it would FAIL alone, but one of 22 objectives"),
        "{}",
        many[0].test.reason
    );
    assert!(many[1..].iter().all(|one| one.test.verdict == Verdict::Pass));
}

/// Findings with these verdicts on the SLOs and on the availability of one store.
fn findings(
    slos: &[Verdict],
    (available, undecided): (Verdict, Undecided),
    invalid: bool,
    failures: &[&str],
) -> Findings {
    let fast = [searches(100, |_| (Outcome::Correct, 5))];
    let judged = |&verdict: &Verdict| {
        let mut judged = judge_slo(&fast, search_slo());
        judged.test.verdict = verdict;
        judged
    };
    let mut availability = judge(&with_slos(Vec::new()), &fast, &[]).1;
    (availability[0].test.verdict, availability[0].undecided) = (available, undecided);
    Findings {
        slos: slos.iter().map(judged).collect(),
        availability,
        validity: if invalid { Validity::Invalid(vec!["late".to_owned()]) } else { Validity::Valid },
        failures: failures.iter().map(|&text| text.to_owned()).collect(),
    }
}

#[test]
fn the_verdict_on_a_run_follows_its_precedence() {
    use Verdict::{Fail, Inconclusive, Pass};
    let up = (Pass, Undecided::Block);
    let overall = |slos: &[Verdict], up, invalid, failures: &[&str]| findings(slos, up, invalid, failures).overall();
    assert_eq!(overall(&[Pass, Pass], up, false, &[]), Overall::Pass);
    assert_eq!(overall(&[Pass, Inconclusive], up, false, &[]), Overall::Inconclusive);
    assert_eq!(overall(&[Fail, Inconclusive], up, false, &[]), Overall::Fail);
    assert_eq!(overall(&[Pass, Pass], up, false, &["a record is missing"]), Overall::Fail);
    assert_eq!(overall(&[Fail, Pass], up, true, &[]), Overall::Invalid);
    assert_eq!(overall(&[Pass, Pass], up, true, &["a record is missing"]), Overall::Fail);
    assert_eq!(overall(&[], up, false, &[]), Overall::Inconclusive);
    assert_eq!(overall(&[Pass], (Inconclusive, Undecided::Block), false, &[]), Overall::Inconclusive);
    assert_eq!(overall(&[Pass], (Inconclusive, Undecided::Allow), false, &[]), Overall::Pass);
    assert_eq!(overall(&[Pass], (Fail, Undecided::Allow), false, &[]), Overall::Fail);
}
