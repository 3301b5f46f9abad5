//! The exported metrics: the page lists exactly them, and both forms hold what was measured.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::family::{Series, families};
use super::{Otlp, otlp, prometheus};
use crate::drive::{Phase, Progress, QuestionProgress};
use crate::measure::{Backing, Measurements, Outcome, Sample};
use crate::plan::Totals;
use crate::population::TenantClass;
use crate::question::{Question, Store};
use crate::scenario::Scenario;
use crate::verdict;

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// A second of a drive: ten searches, one of them slow, and a failed lookup.
fn progress() -> Progress {
    let scenario = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    let mut measured = Measurements::new(&scenario);
    let mut record = |question, millis, outcome| {
        let (lag, latency) = (Duration::from_micros(300), Duration::from_millis(millis));
        let sample = Sample {
            intended: Duration::ZERO,
            lag,
            latency,
            waited: Duration::ZERO,
            outcome,
            backing: Backing::NotAsked,
        };
        measured.record(question, TenantClass::Large, sample);
    };
    for _ in 0..9 {
        record(Question::Search, 15, Outcome::Correct);
    }
    record(Question::Search, 1_500, Outcome::Correct);
    record(Question::LookupById, 1, Outcome::Error);
    let totals = Totals { communications: 3, events: 7, ..Totals::default() };
    let questions: Vec<_> = measured.questions.iter().map(QuestionProgress::from).collect();
    Progress {
        phase: Phase::Driving,
        elapsed: Duration::from_secs(1),
        length: scenario.duration,
        is_read_only: false,
        sent: totals,
        acknowledged: totals,
        held_back: 2,
        in_flight: 1,
        offered: [(Store::Elasticsearch, 11), (Store::Postgres, 1)].into(),
        questions: questions.into_iter().filter(|one| one.counts.samples > 0).collect(),
        slos: verdict::judge(&scenario, &measured).0.into_iter().filter(|one| one.slo.name == "search").collect(),
    }
}

#[test]
fn the_page_is_what_was_measured() {
    let page = prometheus::encode(families(&progress())).unwrap();
    for line in [
        "sluice_loadgen_questions_offered_total{store=\"elasticsearch\"} 11",
        "sluice_loadgen_questions_answered_total{question=\"search\",store=\"elasticsearch\"} 10",
        "sluice_loadgen_question_failures_total{question=\"lookup_by_id\",store=\"postgres\",outcome=\"error\"} 1",
        "sluice_loadgen_latency_seconds_bucket{le=\"0.01\",question=\"search\",store=\"elasticsearch\"} 0",
        "sluice_loadgen_latency_seconds_bucket{le=\"0.02\",question=\"search\",store=\"elasticsearch\"} 9",
        "sluice_loadgen_latency_seconds_bucket{le=\"+Inf\",question=\"search\",store=\"elasticsearch\"} 10",
        "sluice_loadgen_send_lag_seconds_count{question=\"search\",store=\"elasticsearch\"} 10",
        "sluice_loadgen_writes_acknowledged_total{store=\"kafka\"} 7",
        "sluice_loadgen_objective_exceedances_total{objective=\"search\"} 1",
        "sluice_loadgen_objective_allowed{objective=\"search\"} 0.05",
        "sluice_loadgen_verdict_so_far{objective=\"search\",verdict=\"undecided\"} 1.0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    assert!(page.ends_with("# EOF\n"), "{page}");
}

#[test]
fn the_request_is_what_was_measured() {
    let [started, now] = [1, 2].map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    let request = otlp::request(families(&progress()), started, now);
    let metrics = request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    let label = |key: &str, value: &str| serde_json::json!({ "key": key, "value": { "stringValue": value } });
    let offered = &metric("sluice_loadgen_questions_offered")["sum"];
    assert_eq!((&offered["aggregationTemporality"], &offered["isMonotonic"]), (&2.into(), &true.into()));
    let point = offered["dataPoints"].as_array().unwrap().iter().find(|point| point["asInt"] == "11").unwrap();
    assert_eq!(point["attributes"], serde_json::json!([label("store", "elasticsearch")]));
    assert_eq!((&point["startTimeUnixNano"], &point["timeUnixNano"]), (&"1000000000".into(), &"2000000000".into()));
    let latency = metric("sluice_loadgen_latency_seconds")["histogram"]["dataPoints"].as_array().unwrap();
    let search = latency.iter().find(|point| point["attributes"][0] == label("question", "search")).unwrap();
    let counts: Vec<&str> =
        search["bucketCounts"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    // Nine in (0.01, 0.02], one in (1, 2]; a bucket more than bounds.
    assert_eq!(counts, ["0", "0", "0", "0", "9", "0", "0", "0", "0", "0", "1", "0", "0", "0", "0"]);
    assert_eq!((&search["count"], search["explicitBounds"].as_array().unwrap().len()), (&"10".into(), 14));
}

#[test]
fn the_documentation_lists_exactly_the_exported_metrics() {
    let exported: BTreeSet<(String, BTreeSet<String>)> = families(&progress())
        .into_iter()
        .map(|family| {
            let (suffix, labels) = match &family.series {
                Series::Counters(series) => ("_total", series[0].0.clone()),
                Series::Gauges(series) => ("", series[0].0.clone()),
                Series::Histograms(series) => ("_bucket", series[0].0.clone()),
            };
            let labels = labels.into_iter().map(|(name, _)| name.to_owned()).collect();
            (format!("sluice_loadgen_{}{suffix}", family.name), labels)
        })
        .collect();
    let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let documented = |page: &str| -> BTreeSet<(String, BTreeSet<String>)> {
        let rows = page.lines().filter(|line| line.starts_with("| `sluice_loadgen_"));
        let row = |row: &str| {
            let cells: Vec<&str> = row.split(" |").collect();
            let labels = words(cells[2]).into_iter().filter(|label| label != "users").collect();
            (words(cells[0]).swap_remove(0), labels)
        };
        rows.map(row).collect()
    };
    assert_eq!(exported, documented(PAGE));
    assert_ne!(exported, documented(&PAGE.replace("sluice_loadgen_held_back", "sluice_loadgen_held")));
}

#[test]
fn an_address_that_is_none_is_refused() {
    for address in ["", "localhost", "ftp://127.0.0.1:4318", "http://", "http://me:secret@127.0.0.1:4318"] {
        let error = Otlp::new(address).unwrap_err().to_string();
        assert!(error.starts_with("push metrics to"), "{address}: {error}");
    }
    assert!(Otlp::new("http://127.0.0.1:4318/").is_ok());
}

#[test]
fn times_before_1970_are_zero() {
    let before = UNIX_EPOCH - Duration::from_secs(1);
    let request = otlp::request(families(&progress()), before, SystemTime::now());
    assert!(request.to_string().contains("\"startTimeUnixNano\":\"0\""));
}
