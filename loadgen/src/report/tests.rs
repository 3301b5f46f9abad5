//! The report as text and as JSON; in the folder beside it, read back and in its other forms.

mod files;
mod forms;
mod shards;

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_schemas::Store;

use super::*;
use crate::{
    account::{Account, Differences, Ledger, Origin, Sampled},
    measure::{Backing, GeneratorHealth, Measurements, Outcome, Sample, WriteRecorder},
    population::TenantClass,
    question::Question,
    scenario::Scenario,
    verdict::{Behavior, Findings, Latency, Overall, Validity, judge, validity},
};

fn scenario() -> Scenario {
    Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
}

/// Deterministic answers that take 1 to 100 ms; every `slow`th takes 3 s.
fn answers(scenario: &Scenario, slow: u64) -> Measurements {
    let mut measured = Measurements::new(scenario);
    answer(scenario, &mut measured, slow, |_| true);
    measured
}

/// Those of the answers whose index is wanted.
fn answer(scenario: &Scenario, measured: &mut Measurements, slow: u64, wanted: impl Fn(u64) -> bool) {
    for (&question, &rate) in &scenario.probes {
        for i in (0..(rate * 60.0) as u64).filter(|&i| wanted(i)) {
            let latency = Duration::from_millis(if i % slow == slow - 1 { 3_000 } else { 1 + i * 37 % 100 });
            let (intended, lag) = (Duration::from_secs_f64(i as f64 / rate), Duration::from_micros(300));
            let sample = Sample {
                intended,
                lag,
                latency,
                waited: Duration::ZERO,
                outcome: Outcome::Correct,
                backing: Backing::NotAsked,
            };
            measured.record(question, TenantClass::Large, sample);
        }
    }
}

/// Errors only, and no samples of the last question.
fn silent(scenario: &Scenario) -> Measurements {
    let mut measured = Measurements::new(scenario);
    let last = *scenario.probes.keys().last().unwrap();
    for &question in scenario.probes.keys().filter(|&&question| question != last) {
        for second in 0..60 {
            let intended = Duration::from_secs(second);
            let (lag, latency, waited) = Default::default();
            let sample = Sample { intended, lag, latency, waited, outcome: Outcome::Error, backing: Backing::NotAsked };
            measured.record(question, TenantClass::Large, sample);
        }
    }
    measured
}

/// Transactions without a failure.
fn writes(drive: Duration) -> WriteRecorder {
    let mut writes = WriteRecorder::with_first_attempts(Store::Postgres, drive);
    for i in 0..4_000 {
        let at = drive.mul_f64(f64::from(i) / 4_000.0);
        writes.record_first_attempt(at, false);
        writes.record(at, false);
        let latency = Duration::from_millis(2 + u64::from(i % 5 == 0) * 3);
        writes.record_answer(at, at + latency, latency);
    }
    writes
}

fn ledger(origin: Origin, kind: &str, missing: u64) -> Ledger {
    Ledger {
        store: "ClickHouse".to_owned(),
        kind: kind.to_owned(),
        origin,
        tenant: "f64aa3f6-5626-8a10-8534-3018f88d7120".to_owned(),
        planned: 12_345,
        produced: 12_345,
        landed: 12_345 - missing,
        dead_lettered: 0,
        differences: Differences { missing, ..Differences::default() },
    }
}

fn report(slow: u64, missing: u64) -> Report {
    report_of(answers(&scenario(), slow), missing, Some(64.0))
}

fn report_of(mut measured: Measurements, missing: u64, landed_in: Option<f64>) -> Report {
    let scenario = scenario();
    let account = Account {
        ledgers: vec![
            ledger(Origin::Driven, "communication_events", missing),
            ledger(Origin::Loaded, "agent_metrics", 0),
        ],
        sampled: vec![Sampled {
            store: "Elasticsearch".to_owned(),
            records: "communications".to_owned(),
            compared: 60_000,
            of: 500_000,
        }],
        ..Account::default()
    };
    let minute = Duration::from_mins(1);
    let health = GeneratorHealth {
        monotonic: minute,
        system: minute,
        processor_share: Some(0.123),
        steal_share: Some(0.001),
        ..GeneratorHealth::default()
    };
    measured.writes.push(writes(scenario.duration));
    let (slos, availability) = judge(&scenario, &measured);
    let findings = Findings {
        slos,
        availability,
        validity: validity(&scenario.slos, &measured, &health),
        interrupted: None,
        failures: account.discrepancies(),
    };
    let rate = Rate {
        kind: "communication-events".to_owned(),
        planned: 400_000,
        produced: 400_000,
        produced_in: 60.0,
        landed_in,
    };
    let run = Header {
        started_at: "2026-11-24T09:00:00Z".parse().unwrap(),
        scenario,
        digest: "0123456789abcdef0123456789abcdef".to_owned(),
        machine: Machine { system: "linux x86_64".to_owned(), cpus: 2, memory_bytes: Some(8 << 30) },
        stores: BTreeMap::from([("ClickHouse".to_owned(), "26.7.1".to_owned())]),
        config: serde_json::json!({ "stores": { "clickhouse": { "login": { "user": "default", "password": "***" } } } }),
        shard: None,
        merged_shards: None,
    };
    Report::new(run, findings, (&measured, &health), vec![rate], Some(account))
}

fn assert_fits_80_columns(text: &str) {
    assert!(text.lines().count() > 10, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
}

/// The words of a text with one blank between them, wherever its lines break.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Replaces columns of numbers and histograms by what they are.
fn shorten(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Array(items) if items.len() > 20 => *json = format!("{} values", items.len()).into(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(shorten),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(shorten);
            fields.entry("histogram").and_modify(|histogram| *histogram = "a histogram".into());
        }
        _ => {}
    }
}

#[test]
fn a_good_run_in_the_terminal() {
    let report = report(1_000, 0);
    assert_eq!(report.verdict, Overall::Pass);
    assert_fits_80_columns(&report.table());
    insta::assert_snapshot!(report.table());
}

#[test]
fn a_bad_run_in_the_terminal() {
    let report = report(12, 3);
    assert_eq!(report.verdict, Overall::Fail);
    insta::assert_snapshot!(report.table());
}

#[test]
fn tables_of_the_longest_names_and_numbers_fit_80_columns() {
    const MANY: u64 = 12_345_678;
    let mut report = report(12, 3);
    let slowest = Some(9_999_000);
    let latency = Latency { p50_us: slowest, p95_us: slowest, p99_us: slowest, max_us: slowest };
    for asked in &mut report.questions {
        asked.users = Some("u".repeat(40));
        asked.latency = latency;
        let counts = &mut asked.counts;
        (counts.samples, counts.exceedances, counts.errors) = (MANY, MANY, MANY);
        (counts.timed_out, counts.wrong) = (MANY, MANY);
    }
    for one in &mut report.findings.slos {
        one.slo.name = "s".repeat(40);
        one.slo.in_every = Some(Duration::from_secs(30));
        one.latency = latency;
        (one.counts.samples, one.counts.exceedances, one.test.effective.samples) = (MANY, MANY, MANY as f64);
    }
    for one in &mut report.writes {
        (one.offered, one.failed, one.latency) = (vec![MANY], vec![MANY], latency);
    }
    for rate in &mut report.rates {
        (rate.planned, rate.produced, rate.produced_in, rate.landed_in) = (MANY, MANY, 1.0, Some(1.0));
    }
    for ledger in report.account.iter_mut().flat_map(|account| &mut account.ledgers) {
        (ledger.produced, ledger.landed, ledger.dead_lettered) = (MANY, MANY, MANY);
        let examples = Vec::new();
        ledger.differences = Differences { missing: MANY, duplicate: MANY, wrong: MANY, unexpected: MANY, examples };
    }
    let text = report.table();
    assert_fits_80_columns(&text);
    insta::assert_snapshot!(text);
    let mut scenario = scenario();
    scenario.slos.iter_mut().for_each(|slo| slo.name = "s".repeat(40));
    assert_fits_80_columns(&explain(&scenario, &Past::default()));
}

#[test]
fn where_no_store_ever_answered_there_is_no_percentile() {
    let report = report_of(silent(&scenario()), 0, None);
    assert_eq!(report.verdict, Overall::Fail);
    insta::assert_snapshot!(report.table());
    let json = serde_json::to_value(&report).unwrap();
    let latencies = json["questions"].as_array().unwrap().iter().chain(json["findings"]["slos"].as_array().unwrap());
    let mut seen = 0;
    for latency in latencies.map(|one| one["latency"].as_object().unwrap()) {
        assert!(latency.len() == 4 && latency.values().all(serde_json::Value::is_null), "{latency:?}");
        seen += 1;
    }
    assert_eq!(seen, report.questions.len() + report.findings.slos.len());
    let last = json["questions"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["lag_p99_us"], &last["counts"]["samples"]), (&serde_json::Value::Null, &0.into()));
}

#[test]
fn the_json_report_holds_everything_and_its_version() {
    let mut json = serde_json::to_value(report(1_000, 0)).unwrap();
    shorten(&mut json);
    insta::assert_json_snapshot!(json);
}

#[test]
fn an_slo_without_planned_samples_is_never_decided() {
    let mut scenario = scenario();
    (scenario.communications, scenario.history) = (1_000, 500);
    scenario.probes.insert(Question::Search, 0.001);
    let text = explain(&scenario, &Past::default());
    let of_search = |word: &str| text.lines().any(|line| line.starts_with("search  ") && line.contains(word));
    assert!(of_search("never") && of_search("INCONCLUSIVE"), "{text}");
}

#[test]
fn what_is_said_of_many_records_is_an_estimate() {
    let scenario = Scenario { communications: 100_000_000, history: 50_000_000, ..scenario() };
    let text = explain(&scenario, &Past::default());
    let expected = "100,000,000 communications to PostgreSQL; about 399,000,000 events";
    assert!(unwrapped(&text).contains(expected), "{text}");
}

#[test]
fn a_rate_before_its_stages_is_called_so_and_a_blocking_availability_is_not_explained() {
    let mut scenario = scenario();
    (scenario.communications, scenario.history) = (1_000, 500);
    let allowed = "although the availability of a store is undecided";
    assert!(unwrapped(&explain(&scenario, &Past::default())).contains(allowed));
    scenario.stages = vec![crate::scenario::Stage {
        start: Duration::ZERO,
        length: scenario.duration,
        writes: crate::scenario::Factor::ONE,
        probes: crate::scenario::Factor { from: 2.0, to: 2.0 },
        tenant: None,
    }];
    scenario.availability.undecided = crate::scenario::Undecided::Block;
    let text = unwrapped(&explain(&scenario, &Past::default()));
    assert!(text.contains("per s at 1x") && !text.contains(allowed), "{text}");
}

#[test]
fn a_scenario_is_explained_without_a_past_and_with_one() {
    let mut scenario = scenario();
    (scenario.communications, scenario.history) = (1_000, 500);
    insta::assert_snapshot!(explain(&scenario, &Past::default()));
    let measured = |exceedances| Behavior::measured(600, 400.0, exceedances);
    let slos = [("customer-lookup", measured(0.0)), ("search", measured(60.0)), ("analytics", measured(19.5))];
    let slos = slos.map(|(name, behavior)| (name.to_owned(), behavior)).into();
    let past = Past { started_at: Some("2026-11-24T09:00:00Z".parse().unwrap()), slos };
    insta::assert_snapshot!(explain(&scenario, &past));
}
