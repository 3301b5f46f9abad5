//! Verdicts on synthetic measurements, and the rate of false verdicts.

use std::time::Duration;

use super::*;
use crate::{
    measure::{Outcome, Recorder, Sample, blocks::Blocks},
    population::rng::KeyedRng,
    question::Question,
    scenario::{Scenario, Slo},
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

fn verdict(recorder: Recorder) -> Verdict {
    judge(&[recorder], &search_slo()).verdict
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
        judge(&[searches(1_500, |i| (if i == 7 { Outcome::Wrong } else { Outcome::Correct }, 1))], &search_slo());
    assert_eq!((judged.verdict, judged.reason.as_str()), (Verdict::Fail, "1 wrong answers"));
}

#[test]
fn a_store_that_fails_halfway_fails_by_its_errors() {
    let broken = searches(1_500, |i| (if i >= 750 { Outcome::Error } else { Outcome::Correct }, 1));
    assert_eq!(judge(std::slice::from_ref(&broken), &search_slo()).verdict, Verdict::Fail);
    assert_eq!(availability(&[broken], 0.9999).verdict, Verdict::Fail);
}

#[test]
fn an_slo_with_an_unsampled_question_never_passes() {
    let slo = Slo { questions: vec![Question::Search, Question::Timeline], ..search_slo() };
    let judged = judge(&[searches(1_500, |_| (Outcome::Correct, 5))], &slo);
    assert_eq!((judged.verdict, judged.reason.as_str()), (Verdict::Inconclusive, "timeline has no samples"));
    assert_eq!(judge(&[], &slo).verdict, Verdict::Inconclusive);
}

#[test]
fn availability_is_counted() {
    let with_failures = |failures| {
        availability(
            &[searches(9_000, |i| (if i < failures { Outcome::TimedOut } else { Outcome::Correct }, 1))],
            0.9999,
        )
    };
    assert_eq!(with_failures(0).verdict, Verdict::Pass);
    assert_eq!(with_failures(0).reason, "this many samples prove 99.967 % at most");
    assert_eq!(with_failures(1).verdict, Verdict::Inconclusive);
    assert_eq!(with_failures(20).verdict, Verdict::Fail);
    assert_eq!(availability(&[], 0.9999).verdict, Verdict::Inconclusive);
}

fn findings(slos: &[Verdict], validity: Validity, failures: &[&str]) -> Findings {
    let judged = |&verdict| Judged { verdict, ..judge(&[searches(100, |_| (Outcome::Correct, 5))], &search_slo()) };
    Findings {
        slos: slos.iter().map(judged).collect(),
        availability: availability(&[searches(100, |_| (Outcome::Correct, 5))], 0.9999),
        validity,
        failures: failures.iter().map(|&text| text.to_owned()).collect(),
    }
}

#[test]
fn the_verdict_on_a_run_follows_its_precedence() {
    use Verdict::{Fail, Inconclusive, Pass};
    let invalid = || Validity::Invalid(vec!["late".to_owned()]);
    let overall = |slos: &[Verdict], validity, failures: &[&str]| findings(slos, validity, failures).overall();
    assert_eq!(overall(&[Pass, Pass], Validity::Valid, &[]), Overall::Pass);
    assert_eq!(overall(&[Pass, Inconclusive], Validity::Valid, &[]), Overall::Inconclusive);
    assert_eq!(overall(&[Fail, Inconclusive], Validity::Valid, &[]), Overall::Fail);
    assert_eq!(overall(&[Pass, Pass], Validity::Valid, &["a record is missing"]), Overall::Fail);
    assert_eq!(overall(&[Fail, Pass], invalid(), &[]), Overall::Invalid);
    assert_eq!(overall(&[Pass, Pass], invalid(), &["a record is missing"]), Overall::Fail);
    assert_eq!(overall(&[], Validity::Valid, &[]), Overall::Inconclusive);
}

/// Verdicts on `runs` runs with a true share of `truth` exceedances, in bursts of `burst` samples.
fn simulate(runs: u64, samples: u64, truth: f64, burst: u64) -> [u64; 3] {
    let drive = Duration::from_mins(1);
    let mut counts = [0; 3];
    for run in 0..runs {
        let mut blocks = Blocks::new(drive);
        for i in 0..samples {
            let bad = KeyedRng::new(run, "simulated burst", [samples, i / burst]).chance(truth);
            blocks.record(drive.mul_f64(i as f64 / samples as f64), bad);
        }
        let effective = blocks.effective(0.05);
        counts[binomial::decide(effective.exceedances, effective.samples, 0.05, 0.05) as usize] += 1;
    }
    counts
}

#[test]
fn false_verdicts_at_the_limit_stay_at_alpha() {
    let [pass, fail, _] = simulate(400, 1_500, 0.05, 1);
    assert!(pass <= 28 && fail <= 28, "{pass} {fail} of 400, 20 expected of each at most");
}

#[test]
fn a_good_store_rarely_fails_where_a_plain_percentile_often_would() {
    let [_, fail, _] = simulate(400, 200, 0.04, 1);
    let naive = (0..400)
        .filter(|&run| (0..200).filter(|&i| KeyedRng::new(run, "simulated burst", [200, i]).chance(0.04)).count() > 10)
        .count();
    assert!(fail <= 8, "{fail} of 400");
    assert!(naive >= 40, "the sample p95 alone fails {naive} of 400 good runs");
}

#[test]
fn bursts_do_not_raise_the_rate_of_false_verdicts() {
    let [pass, fail, _] = simulate(400, 3_000, 0.05, 50);
    assert!(pass <= 40 && fail <= 40, "{pass} passed and {fail} failed of 400 at the limit");
}
