//! Comparisons of made-up reports: their forms, what limits them, and what is refused.

use std::time::Duration;

use super::*;
use crate::measure::{Backing, GeneratorHealth, Measurements, Sample};
use crate::population::TenantClass;
use crate::question::Question;
use crate::report::{Header, Machine, Report};
use crate::scenario::Scenario;
use crate::verdict::{Findings, Validity, judge};

/// A run of the smoke scenario with deterministic answers around `millis`; `noise` makes the runs of a side differ.
fn run(minute: u32, millis: f64, noise: f64) -> Report {
    let mut scenario = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    scenario.probes.retain(|question, _| [Question::Search, Question::LookupById].contains(question));
    scenario.slos.retain(|slo| ["customer-lookup", "search"].contains(&slo.name.as_str()));
    let mut measured = Measurements::new(&scenario);
    for (&question, &rate) in &scenario.probes {
        let slower = if question == Question::Search { millis } else { 10.0 };
        for i in 0..(rate * 60.0) as u64 {
            let latency = Duration::from_secs_f64(slower * noise * (0.5 + (i * 37 % 100) as f64 / 100.0) / 1_000.0);
            let (intended, lag) = (Duration::from_secs_f64(i as f64 / rate), Duration::ZERO);
            let outcome = crate::measure::Outcome::Correct;
            let sample = Sample { intended, lag, latency, waited: Duration::ZERO, outcome, backing: Backing::NotAsked };
            measured.record(question, TenantClass::Large, sample);
        }
    }
    let (slos, availability) = judge(&scenario, &measured);
    let findings = Findings { slos, availability, validity: Validity::Valid, interrupted: None, failures: Vec::new() };
    let header = Header {
        started_at: format!("2026-11-28T10:{minute:02}:00Z").parse().unwrap(),
        scenario,
        digest: "9f2c".repeat(16),
        machine: Machine { system: "linux x86_64".to_owned(), cpus: 2, memory_bytes: Some(24_000_000_000) },
        stores: [("postgres".to_owned(), "17.2".to_owned())].into(),
        config: serde_json::json!({ "stack": { "port_base": 5432 } }),
        shard: None,
        merged_shards: None,
    };
    Report::new(header, findings, (&measured, &GeneratorHealth::default()), Vec::new(), None)
}

fn side(minutes: [u32; 3], millis: f64) -> Vec<Report> {
    minutes.into_iter().zip([0.99, 1.0, 1.01]).map(|(minute, noise)| run(minute, millis, noise)).collect()
}

const BEFORE: [u32; 3] = [0, 10, 20];
const AFTER: [u32; 3] = [5, 15, 25];

#[test]
fn a_slower_question_is_worse_and_the_others_are_not() {
    let mut after = side(AFTER, 24.0);
    for run in &mut after {
        run.run.stores.insert("postgres".to_owned(), "18.0".to_owned());
    }
    let comparison = compare(&side(BEFORE, 20.0), &after, 0.1).unwrap();
    assert_eq!(comparison.outcome, Outcome::Worse);
    assert!(comparison.table().lines().all(|line| line.chars().count() <= 80), "{}", comparison.table());
    insta::assert_snapshot!(comparison.table());
    insta::assert_snapshot!(comparison.markdown());
    let json = serde_json::to_value(&comparison).unwrap();
    let first = &json["compared"][3];
    let words = [&first["quantity"], &first["change"], &json["outcome"]].map(|word| word.as_str().unwrap());
    assert_eq!(words, ["p50", "worse", "worse"]);
}

#[test]
fn equal_runs_are_no_worse_and_single_ones_say_what_is_not_known() {
    let (before, after) = (side(BEFORE, 20.0), side(AFTER, 20.0));
    let equal = compare(&before, &after, 0.1).unwrap();
    assert_eq!((equal.outcome, equal.notes), (Outcome::NoWorse, Vec::<String>::new()));
    let single = compare(&before[..1], &after[..1], 0.1).unwrap();
    assert_eq!(single.outcome, Outcome::Undecided);
    assert!(
        single
            .notes
            .iter()
            .any(|note| note.contains("the noise between runs is not known: a standard deviation of 5 %"))
    );
    assert!(single.table().contains("\n\nnote: each side has a single run"));
    let one_side = compare(&before, &after[..1], 0.1).unwrap();
    assert_eq!((one_side.noise, one_side.outcome), (Noise::OneSide, Outcome::NoWorse));
}

#[test]
fn faster_runs_are_no_worse_and_say_what_is_better() {
    let comparison = compare(&side(BEFORE, 20.0), &side(AFTER, 14.0), 0.1).unwrap();
    assert_eq!(comparison.outcome, Outcome::NoWorse);
    let better = comparison.compared.iter().filter(|one| one.change == Some(Change::Better));
    assert_eq!(better.map(|one| one.subject.as_str()).collect::<Vec<_>>(), ["search", "search"]);
}

#[test]
fn what_failed_only_after_the_change_is_worse_however_fast() {
    let (before, mut after) = (side(BEFORE, 20.0), side(AFTER, 20.0));
    after[1].findings.failures.push("7 records are missing".to_owned());
    let comparison = compare(&before, &after, 0.1).unwrap();
    assert_eq!((comparison.outcome, comparison.failures.len()), (Outcome::Worse, 1));
    let mut both = before;
    both[0].findings.failures.push("9 records are missing".to_owned());
    assert_eq!(compare(&both, &after, 0.1).unwrap().outcome, Outcome::NoWorse);
}

#[test]
fn a_failure_of_another_kind_is_not_excused_by_one_before_the_change() {
    let (mut before, mut after) = (side(BEFORE, 20.0), side(AFTER, 20.0));
    before[0].findings.failures.push("9 records are missing".to_owned());
    after[1].questions[0].counts.wrong = 5;
    let comparison = compare(&before, &after, 0.1).unwrap();
    assert_eq!((comparison.outcome, comparison.failures.len()), (Outcome::Worse, 1), "{:?}", comparison.failures);
    before[2].questions[0].counts.wrong = 7;
    assert_eq!(compare(&before, &after, 0.1).unwrap().outcome, Outcome::NoWorse);
}

#[test]
fn errors_have_no_latency_and_make_a_side_worse() {
    let (mut before, mut after) = (side(BEFORE, 20.0), side(AFTER, 20.0));
    let failing = |report: &mut Report, share: f64| {
        let counts = &mut report.questions[0].counts;
        counts.errors = (counts.samples as f64 * share) as u64;
    };
    failing(&mut after[1], 0.4);
    let comparison = compare(&before, &after, 0.1).unwrap();
    assert_eq!(comparison.outcome, Outcome::Worse);
    assert!(comparison.failures[0].contains("40 % of the answers"), "{:?}", comparison.failures);
    failing(&mut before[0], 0.4);
    assert_eq!(compare(&before, &after, 0.1).unwrap().outcome, Outcome::NoWorse);
}

fn late() -> Validity {
    Validity::Invalid(vec!["the questions were late".to_owned()])
}

#[test]
fn what_limits_a_comparison_is_said() {
    let mut apart = side([30, 40, 50], 20.0);
    apart[0].findings.validity = late();
    for run in &mut apart {
        run.run.scenario.communications += 1;
        run.findings.slos[0].slo.within *= 2;
    }
    let comparison = compare(&side(BEFORE, 20.0), &apart, 0.1).unwrap();
    assert_eq!(comparison.outcome, Outcome::Undecided);
    insta::assert_snapshot!(comparison.notes.join("\n"));
}

#[test]
fn runs_that_cannot_be_compared_are_refused() {
    let before = side(BEFORE, 20.0);
    let mut other = before.clone();
    other[2].run.scenario.name = "day".to_owned();
    let mut silent = before.clone();
    for question in &mut silent[1].questions {
        question.histogram = crate::measure::DurationHistogram::default();
    }
    for slo in &mut silent[1].findings.slos {
        slo.counts.samples = 0;
    }
    let twice = [before[0].clone(), before[1].clone(), before[0].clone()];
    let refusals = [
        compare(&before, &other, 0.1),
        compare(&silent, &before, 0.1),
        compare(&before, &[], 0.1),
        compare(&before[..1], &before[..1], 0.1),
        compare(&before, &[&side(AFTER, 20.0)[..1], &before[2..]].concat(), 0.1),
        compare(&side(AFTER, 20.0), &twice, 0.1),
    ];
    insta::assert_snapshot!(refusals.map(|one| one.unwrap_err().to_string()).join("\n"));
}

#[test]
fn a_baseline_with_which_no_comparison_is_decided_is_refused_before_the_run() {
    let good = side(BEFORE, 20.0);
    assert!(check_baseline("smoke", &good).is_ok());
    let changed = |change: fn(&mut Report)| {
        let mut baseline = good.clone();
        change(&mut baseline[1]);
        baseline
    };
    let baselines = [
        changed(|report| report.findings.validity = late()),
        changed(|report| report.findings.interrupted = Some("drawing up the account".to_owned())),
        changed(|report| {
            report.questions.clear();
            report.findings.slos.clear();
        }),
        changed(|report| report.run.started_at = "2026-11-28T10:00:00Z".parse().unwrap()),
        changed(|report| report.run.scenario.name = "day".to_owned()),
    ];
    let refusals = baselines.map(|baseline| check_baseline("smoke", &baseline).unwrap_err().to_string());
    insta::assert_snapshot!(refusals.join("\n"));
}
