//! Verdicts on synthetic measurements.

use std::{collections::BTreeMap, time::Duration};

use sluice_schemas::Store;

use super::*;
use crate::{
    measure::{Backing, Measurements, Outcome, Sample, WriteRecorder},
    population::TenantClass,
    question::Question,
    scenario::{Availability as Objective, Operation, Scenario, Slo, Undecided},
};

fn scenario() -> Scenario {
    Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
}

/// `samples` answers to `question`, spread evenly over the drive; `answer` returns the outcome and latency (ms) of each.
fn ask(measured: &mut Measurements, question: Question, samples: u64, answer: impl Fn(u64) -> (Outcome, u64)) {
    let duration = scenario().duration;
    for i in 0..samples {
        let (outcome, millis) = answer(i);
        let intended = duration.mul_f64(i as f64 / samples as f64);
        let latency = Duration::from_millis(millis);
        let (lag, waited) = Default::default();
        measured.record(
            question,
            TenantClass::Large,
            Sample { intended, lag, latency, waited, outcome, backing: Backing::NotAsked },
        );
    }
}

/// Measurements of searches alone.
fn searches(scenario: &Scenario, samples: u64, answer: impl Fn(u64) -> (Outcome, u64)) -> Measurements {
    let mut measured = Measurements::new(scenario);
    ask(&mut measured, Question::Search, samples, answer);
    measured
}

/// Commits of a tenant of each class over the drive; every `slow`-th takes 150 ms.
fn commits(scenario: &Scenario, slow: u64) -> Measurements {
    let mut measured = Measurements::new(scenario);
    for i in 0..6_000_u64 {
        let latency = Duration::from_millis(if i.is_multiple_of(slow) { 150 } else { 5 });
        let (lag, waited) = Default::default();
        let sample = Sample {
            intended: scenario.duration * i as u32 / 6_000,
            lag,
            latency,
            waited,
            outcome: Outcome::Correct,
            backing: Backing::NotAsked,
        };
        measured.record_operation(Operation::Commits, TenantClass::ALL[i as usize % 3], sample);
    }
    measured
}

#[test]
fn commits_are_judged_as_questions_are_and_never_with_them() {
    let of_commits = Slo { name: "commits".to_owned(), of: Operation::Commits, questions: Vec::new(), ..search_slo() };
    let of_small = Slo { name: "small".to_owned(), tenants: Some(TenantClass::Small), ..of_commits.clone() };
    let scenario = with_slos(vec![Slo { within: Duration::from_millis(100), ..of_commits }, of_small, search_slo()]);
    let verdicts = |slow| {
        let (slos, _) = judge(&scenario, &commits(&scenario, slow));
        slos.iter().map(|one| (one.counts.samples, one.test.verdict)).collect::<Vec<_>>()
    };
    let passed = [(6_000, Verdict::Pass), (2_000, Verdict::Pass), (0, Verdict::Inconclusive)];
    assert_eq!(verdicts(50), passed, "2 % exceed");
    assert_eq!(verdicts(10)[0], (6_000, Verdict::Fail), "10 % exceed");
}

/// Watched events over the drive, `per_second` of them; every `late`-th takes 50 s.
fn events(scenario: &Scenario, per_second: u64, late: u64) -> Measurements {
    let mut measured = Measurements::new(scenario);
    let count = per_second * scenario.duration.as_secs();
    for i in 0..count {
        let latency = Duration::from_secs(if i.is_multiple_of(late) { 50 } else { 20 });
        let intended = scenario.duration.mul_f64(i as f64 / count as f64);
        let (lag, waited) = Default::default();
        let sample = Sample { intended, lag, latency, waited, outcome: Outcome::Correct, backing: Backing::NotAsked };
        measured.record_operation(Operation::Events, TenantClass::Large, sample);
    }
    measured
}

#[test]
fn a_rate_needs_as_many_events_produced_and_visible_in_time() {
    let rate = |at_least, in_every| {
        let slo = Slo { of: Operation::Events, questions: Vec::new(), within: Duration::from_secs(45), ..search_slo() };
        let scenario = with_slos(vec![Slo { objective: 0.5, at_least: Some(at_least), in_every, ..slo }]);
        let each = scenario.watched_event_in() as f64;
        move |per_second, late| {
            let (slos, _) = judge(&scenario, &events(&scenario, per_second, late));
            (slos[0].test.verdict, slos[0].test.reason.clone(), each)
        }
    };
    let each = rate(1.0, None)(20, 2).2;
    let of = |watched: f64| rate(watched * each, None);
    assert_eq!(of(18.0)(20, 50).0, Verdict::Pass, "2 % of 20 are late, and 10 % may be");
    assert_eq!(of(18.0)(20, 5).0, Verdict::Fail, "20 % are late, although half of them may be by the objective");
    let (verdict, reason, _) = of(21.0)(20, 50);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.contains("events/s, which can't show"), "{reason}");
    let half_minutes = rate(18.0 * each, Some(Duration::from_secs(30)));
    assert_eq!(half_minutes(20, 50).0, Verdict::Pass);
}

#[test]
fn a_report_and_a_forecast_show_the_share_that_a_rate_allows() {
    let slo = Slo { of: Operation::Events, questions: Vec::new(), objective: 0.5, ..search_slo() };
    let planned = |scenario: &Scenario| scenario.planned_event_rate(&scenario.slos[0]);
    let rate = planned(&with_slos(vec![slo.clone()]));
    let scenario = with_slos(vec![Slo { at_least: Some(rate * 0.9), ..slo.clone() }]);
    let forecast = forecast(&scenario, &scenario.slos[0], None);
    assert!((forecast.allowed - 0.1).abs() < 1e-9 && (forecast.behavior.share - 0.025).abs() < 1e-9, "{forecast:?}");
    let scenario = with_slos(vec![Slo { at_least: Some(18.0 * scenario.watched_event_in() as f64), ..slo }]);
    let judged = judge(&scenario, &events(&scenario, 20, 50)).0.remove(0);
    assert!((judged.test.allowed - 0.1).abs() < 1e-9, "{judged:?}");
}

#[test]
fn the_effective_sample_of_windows_says_from_how_many_samples_it_was_taken() {
    let judged = |in_every| {
        let scenario = with_slos(vec![Slo { in_every, ..search_slo() }]);
        judge(&scenario, &searches(&scenario, 1_500, |_| (Outcome::Correct, 5))).0.remove(0)
    };
    assert_eq!(judged(None).test.effective.taken_from, 1_500);
    let window = judged(Some(scenario().duration / 3));
    assert_eq!((window.counts.samples, window.test.effective.taken_from), (1_500, 500));
}

#[test]
fn few_samples_are_not_blamed_on_the_length_of_the_drive() {
    let reason = |samples, stall| {
        let longest_stall = Some(Duration::from_millis(stall));
        let scenario = with_slos(vec![Slo { longest_stall, ..search_slo() }]);
        judge(&scenario, &searches(&scenario, samples, |_| (Outcome::Correct, 5))).0.remove(0).test.reason
    };
    let (short, few) = (reason(1_500, 5_000), reason(20, 500));
    assert!(short.contains("needs a drive of"), "{short}");
    assert!(few.contains("20 samples can't show"), "{few}");
}

fn search_slo() -> Slo {
    scenario().slos.into_iter().find(|slo| slo.name == "search").unwrap()
}

/// The smoke scenario with these SLOs.
fn with_slos(slos: Vec<Slo>) -> Scenario {
    Scenario { slos, ..scenario() }
}

/// The verdict on searches by the smoke scenario's SLO of searches.
fn judge_searches(samples: u64, answer: impl Fn(u64) -> (Outcome, u64)) -> Judged {
    let scenario = with_slos(vec![search_slo()]);
    judge(&scenario, &searches(&scenario, samples, answer)).0.remove(0)
}

fn verdict(samples: u64, answer: impl Fn(u64) -> (Outcome, u64)) -> Verdict {
    judge_searches(samples, answer).test.verdict
}

#[test]
fn fast_passes_slow_fails_and_few_samples_do_not_decide() {
    let every = |n: u64| move |i: u64| (Outcome::Correct, if i.is_multiple_of(n) { 300 } else { 5 });
    assert_eq!(verdict(1_500, |_| (Outcome::Correct, 5)), Verdict::Pass);
    assert_eq!(verdict(1_500, every(10)), Verdict::Fail);
    assert_eq!(verdict(1_500, every(21)), Verdict::Inconclusive);
    assert_eq!(verdict(50, |_| (Outcome::Correct, 5)), Verdict::Inconclusive);
}

#[test]
fn one_wrong_answer_fails_however_fast() {
    let judged = judge_searches(1_500, |i| (if i == 7 { Outcome::Wrong } else { Outcome::Correct }, 1));
    assert_eq!((judged.test.verdict, judged.test.reason.as_str()), (Verdict::Fail, "1 wrong answer"));
}

#[test]
fn a_wrong_answer_to_a_question_without_an_slo_is_a_failure_too() {
    let wrong = searches(&scenario(), 1_500, |i| (if i == 7 { Outcome::Wrong } else { Outcome::Correct }, 1));
    assert_eq!(wrong_without_slo(&scenario(), &wrong.questions), [""; 0]);
    let unjudged = with_slos(Vec::new());
    assert_eq!(wrong_without_slo(&unjudged, &wrong.questions), ["1 wrong answer to search, which no SLO judges"]);
}

#[test]
fn a_wrong_answer_to_tenants_that_an_slo_leaves_out_is_a_failure_too() {
    let of_class = |class| Slo { tenants: Some(class), ..search_slo() };
    let scenario = with_slos(vec![of_class(TenantClass::Middle), of_class(TenantClass::Small)]);
    let wrong = searches(&scenario, 1_500, |i| (if i == 7 { Outcome::Wrong } else { Outcome::Correct }, 1));
    let (slos, availability) = judge(&scenario, &wrong);
    assert!(slos.iter().all(|slo| slo.counts.wrong == 0), "the samples are of a large tenant");
    let failures = failures(Vec::new(), &scenario, &wrong.questions);
    assert_eq!(failures, ["1 wrong answer to search, which no SLO judges for every tenant"]);
    let findings = Findings { slos, availability, validity: Validity::Valid, interrupted: None, failures };
    assert_eq!(findings.overall(), Overall::Fail);
    let each = with_slos(TenantClass::ALL.map(of_class).to_vec());
    assert_eq!(wrong_without_slo(&each, &wrong.questions), [""; 0], "the SLO of their class fails");
}

#[test]
fn a_store_that_fails_halfway_fails_by_its_errors() {
    let scenario = with_slos(vec![search_slo()]);
    let broken = searches(&scenario, 1_500, |i| (if i >= 750 { Outcome::Error } else { Outcome::Correct }, 1));
    let (slos, availability) = judge(&scenario, &broken);
    let elasticsearch = availability.iter().find(|one| one.store == Store::Elasticsearch).unwrap();
    assert_eq!((slos[0].test.verdict, elasticsearch.test.verdict), (Verdict::Fail, Verdict::Fail));
}

#[test]
fn an_slo_with_an_unsampled_question_never_passes() {
    let slo = Slo { questions: vec![Question::Search, Question::Timeline], ..search_slo() };
    let scenario = with_slos(vec![slo]);
    let judged = |measured: &Measurements| judge(&scenario, measured).0.remove(0).test;
    let test = judged(&searches(&scenario, 1_500, |_| (Outcome::Correct, 5)));
    assert_eq!((test.verdict, test.reason.as_str()), (Verdict::Inconclusive, "timeline has no samples"));
    assert_eq!(judged(&Measurements::new(&scenario)).verdict, Verdict::Inconclusive);
}

#[test]
fn one_question_may_have_several_slos_each_with_its_own_limit_and_tenants() {
    use Verdict::{Fail, Inconclusive, Pass};
    let slo = |name: &str, millis, tenants| Slo {
        name: name.to_owned(),
        within: Duration::from_millis(millis),
        tenants,
        ..search_slo()
    };
    let slos = vec![
        slo("tight", 10, None),
        slo("wide", 400, None),
        slo("large", 400, Some(TenantClass::Large)),
        slo("small", 400, Some(TenantClass::Small)),
    ];
    let scenario = with_slos(slos);
    assert_eq!(scenario.limit_of(Question::Search, None), Some(Duration::from_millis(10)));
    let measured = searches(&scenario, 1_500, |_| (Outcome::Correct, 300));
    let (judged, _) = judge(&scenario, &measured);
    let verdicts: Vec<_> = judged.iter().map(|one| (one.counts.samples, one.test.verdict)).collect();
    assert_eq!(verdicts, [(1_500, Fail), (1_500, Pass), (1_500, Pass), (0, Inconclusive)]);
}

#[test]
fn an_slo_may_have_to_hold_in_every_window() {
    let slo = |in_every| Slo { in_every, ..search_slo() };
    let half_minutes = Some(Duration::from_secs(15));
    let scenario = with_slos(vec![slo(None), Slo { name: "worst".to_owned(), ..slo(half_minutes) }]);
    let judged = |slow: fn(u64) -> bool| {
        let answer = |i| (Outcome::Correct, if slow(i) { 300 } else { 5 });
        let (judged, _) = judge(&scenario, &searches(&scenario, 7_500, answer));
        [judged[0].test.clone(), judged[1].test.clone()]
    };
    // One sample in five of a window of 15 s out of 75 s exceeds: 4 % of the drive, 20 % of the window.
    let [whole, worst] = judged(|i| (3_000..4_500).contains(&i) && i.is_multiple_of(5));
    assert_ne!(whole.verdict, Verdict::Fail, "{whole:?}");
    assert_eq!(worst.verdict, Verdict::Fail, "{worst:?}");
    assert!(worst.reason.contains("the worst window, from 30.0 s to 45.0 s"), "{}", worst.reason);
    let [whole, worst] = judged(|i| i.is_multiple_of(100));
    assert_eq!((whole.verdict, worst.verdict), (Verdict::Pass, Verdict::Pass), "{worst:?}");
}

/// The availability of Elasticsearch after this many searches, of which `failures` spread evenly over the drive failed.
fn availability_of(samples: u64, failures: u64) -> Availability {
    let fails = |i| failures > 0 && i % (samples / failures) == 0 && i / (samples / failures) < failures;
    let scenario = with_slos(Vec::new());
    let searches = searches(&scenario, samples, |i| (if fails(i) { Outcome::TimedOut } else { Outcome::Correct }, 1));
    let (_, availability) = judge(&scenario, &searches);
    availability.into_iter().find(|one| one.store == Store::Elasticsearch).unwrap()
}

#[test]
fn availability_is_tested_as_every_other_objective() {
    let few = availability_of(9_000, 0);
    assert_eq!((few.store, few.test.verdict), (Store::Elasticsearch, Verdict::Inconclusive));
    assert_eq!(
        few.test.reason,
        "9,000 samples can't show 99.99 %; that needs 29,956, as many as a drive of about 4 min 10 s has"
    );
    assert_eq!(availability_of(30_000, 0).test.verdict, Verdict::Pass);
    assert_eq!(availability_of(30_000, 1).test.verdict, Verdict::Inconclusive);
    assert_eq!(availability_of(9_000, 20).test.verdict, Verdict::Fail);
}

#[test]
fn a_run_may_be_too_short_to_show_availability_but_more_failures_than_it_allows_block_it() {
    let blocks =
        |samples, failures, undecided| Availability { undecided, ..availability_of(samples, failures) }.blocks();
    assert!(!blocks(9_000, 0, Undecided::Allow) && blocks(9_000, 0, Undecided::Block));
    assert!(!blocks(30_000, 2, Undecided::Allow), "0.007 % failed, and 0.01 % may");
    assert!(blocks(9_000, 2, Undecided::Allow), "0.02 % failed");
    assert!(blocks(9_000, 20, Undecided::Allow) && !blocks(30_000, 0, Undecided::Block));
}

#[test]
fn a_miss_that_fails_behind_the_cache_counts_for_the_store_behind_it() {
    let mut scenario = with_slos(Vec::new());
    scenario.probes = BTreeMap::from([(Question::LookupCached, 100.0)]);
    let mut measured = Measurements::new(&scenario);
    for i in 0..6_000_u64 {
        let backing = match i % 10 {
            0 => Backing::Failed,
            1 => Backing::Answered,
            _ => Backing::NotAsked,
        };
        // One in a hundred fails in the cache itself, after the store behind it has answered.
        let outcome = if i.is_multiple_of(10) || i % 100 == 1 { Outcome::Error } else { Outcome::Correct };
        let (intended, [lag, waited, latency]) = (scenario.duration * i as u32 / 6_000, Default::default());
        let sample = Sample { intended, lag, latency, waited, outcome, backing };
        measured.record(Question::LookupCached, TenantClass::Large, sample);
    }
    let availability = judge(&scenario, &measured).1;
    let of = |store| availability.iter().find(|one| one.store == store).map(|one| (one.samples, one.failed));
    assert_eq!((of(Store::Redis), of(Store::Postgres)), (Some((6_000, 60)), Some((1_200, 600))));
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
        let scenario = Scenario { availability: objective, probes: BTreeMap::new(), ..with_slos(Vec::new()) };
        let measured = Measurements { writes: vec![writes], ..Measurements::new(&scenario) };
        let (_, judged) = judge(&scenario, &measured);
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
    let slow = |i: u64| (Outcome::Correct, if i * 13 % 200 < 13 { 300 } else { 5 });
    assert_eq!(verdict(1_500, slow), Verdict::Fail);
    // Nineteen more objectives that are met by far, on another question.
    let named = |i| Slo { name: format!("search-{i}"), ..search_slo() };
    let met = (1..20).map(|i| Slo { questions: vec![Question::LookupById], ..named(i) });
    let scenario = with_slos([named(0)].into_iter().chain(met).collect());
    let mut measured = searches(&scenario, 1_500, slow);
    ask(&mut measured, Question::LookupById, 1_500, |_| (Outcome::Correct, 1));
    let (many, _) = judge(&scenario, &measured);
    assert_eq!(many[0].test.verdict, Verdict::Inconclusive, "{:?}", many[0].test);
    assert!(
        many[0].test.reason.starts_with("it would FAIL alone, but one of 24 objectives"),
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
    let judged = |&verdict: &Verdict| {
        let mut judged = judge_searches(100, |_| (Outcome::Correct, 5));
        judged.test.verdict = verdict;
        judged
    };
    let mut availability = vec![availability_of(100, 0)];
    (availability[0].test.verdict, availability[0].undecided) = (available, undecided);
    Findings {
        slos: slos.iter().map(judged).collect(),
        availability,
        validity: if invalid { Validity::Invalid(vec!["late".to_owned()]) } else { Validity::Valid },
        interrupted: None,
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
    let interrupted = Some("drawing up the account".to_owned());
    let of = |failures| Findings { interrupted: interrupted.clone(), ..findings(&[Pass], up, false, failures) };
    assert_eq!((of(&[]).overall(), of(&[]).is_valid()), (Overall::Invalid, false));
    assert_eq!((of(&["an answer is wrong"]).overall(), of(&["an answer is wrong"]).is_valid()), (Overall::Fail, false));
    assert_eq!(overall(&[Pass], (Inconclusive, Undecided::Block), false, &[]), Overall::Inconclusive);
    assert_eq!(overall(&[Pass], (Inconclusive, Undecided::Allow), false, &[]), Overall::Pass);
    assert_eq!(overall(&[Pass], (Fail, Undecided::Allow), false, &[]), Overall::Fail);
}
