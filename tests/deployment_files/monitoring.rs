//! Dashboard, alarms and their pages: every expression uses only metrics that a worker exports, every alarm has a runbook, and
//! docs/metrics.md names each metric's alarms. (A unit test of ingest compares that page with the worker.)

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::promql::{self, Known};
use crate::{read, yaml};

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/sluice-ingest.json";
const METRICS: &str = "docs/metrics.md";
const RUNBOOKS: &str = "docs/runbooks.md";
/// Parts of every runbook, in this order.
const PARTS: [&str; 5] = ["**Meaning.**", "**Impact.**", "**Diagnosis.**", "**Repair.**", "**Resolved when**"];

/// Rows of the metrics table: name, labels, alarms.
fn metrics(page: &str) -> Vec<(String, BTreeSet<String>, BTreeSet<String>)> {
    let rows = page.lines().filter(|line| line.starts_with("| `sluice_ingest_"));
    let quoted =
        |text: &str, mark: char| -> Vec<String> { text.split(mark).skip(1).step_by(2).map(str::to_owned).collect() };
    let row = |row: &str| {
        let cells: Vec<_> = row.split(" |").collect();
        let alarms = cells[5].split('[').skip(1).filter_map(|link| Some(link.split_once(']')?.0.to_owned()));
        (quoted(cells[0], '`').swap_remove(0), quoted(cells[2], '`').into_iter().collect(), alarms.collect())
    };
    rows.map(row).collect()
}

fn known() -> Known {
    metrics(&read(METRICS)).into_iter().map(|(name, labels, _)| (name, labels)).collect()
}

fn alerts(file: &Value) -> Vec<&Value> {
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect()
}

/// Every difference between alarms, runbooks and the metrics table, one line each.
fn differences(alerts_file: &Value, metrics_page: &str, runbooks: &str) -> Vec<String> {
    let known = known();
    let sections: BTreeMap<&str, &str> =
        runbooks.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let mut differences = Vec::new();
    let mut alarms_by_metric: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for alert in alerts(alerts_file) {
        let (name, expression) = (alert["alert"].as_str().unwrap(), alert["expr"].as_str().unwrap());
        differences.extend(promql::unknown(expression, &known).into_iter().map(|what| format!("{name}: {what}")));
        for (metric, _) in promql::names(expression).selected {
            let metric = promql::metric(&known, &metric).map_or(metric.clone(), |(name, _)| name.clone());
            alarms_by_metric.entry(metric).or_default().insert(name.to_owned());
        }
        if alert["annotations"]["runbook_url"] != format!("{RUNBOOKS}#{}", name.to_lowercase()) {
            differences.push(format!("{name}: links another alarm's runbook"));
        }
        if alert["annotations"]["summary"].as_str().is_none_or(str::is_empty) {
            differences.push(format!("{name}: has no summary"));
        }
        if !["critical", "warning"].iter().any(|severity| alert["labels"]["severity"] == *severity) {
            differences.push(format!("{name}: is neither critical nor warning"));
        }
        let section = sections.get(name).copied().unwrap_or_default();
        let positions: Option<Vec<_>> = PARTS.iter().map(|part| section.find(part)).collect();
        if positions.is_none_or(|positions| !positions.is_sorted()) {
            differences.push(format!("{name}: its runbook lacks a part"));
        }
        if !names.insert(name) {
            differences.push(format!("{name}: is defined twice"));
        }
    }
    differences
        .extend(sections.keys().filter(|name| !names.contains(*name)).map(|name| format!("{name}: is not an alarm")));
    for (metric, _, alarms) in metrics(metrics_page) {
        let expected = alarms_by_metric.remove(&metric).unwrap_or_default();
        if alarms != expected {
            differences.push(format!("{metric}: has the alarms {alarms:?} on the page, but {expected:?} in the file"));
        }
    }
    differences
}

#[test]
fn every_alarm_has_a_runbook_and_uses_exported_metrics() {
    let file = yaml(ALERTS);
    assert!(alerts(&file).len() > 10);
    assert_eq!(differences(&file, &read(METRICS), &read(RUNBOOKS)), [""; 0]);
}

#[test]
fn a_change_to_an_alarm_or_a_page_is_detected() {
    let (file, page, runbooks) = (yaml(ALERTS), read(METRICS), read(RUNBOOKS));
    let first = "/groups/0/rules/0";
    for (field, value) in [
        ("/expr", json!("absent(sluice_ingest_budget)")),
        ("/expr", json!("absent(sluice_ingest_budget_bytes{topic=\"t\"})")),
        ("/annotations/runbook_url", json!("docs/runbooks.md#sluiceingestbehind")),
        ("/annotations/summary", json!("")),
        ("/labels/severity", json!("page")),
        ("/alert", json!("SluiceIngestAway")),
    ] {
        let mut changed = file.clone();
        *changed.pointer_mut(&format!("{first}{field}")).unwrap() = value;
        assert_ne!(differences(&changed, &page, &runbooks), [""; 0], "{field}");
    }
    for part in PARTS {
        assert_eq!(differences(&file, &page, &runbooks.replacen(part, "", 1)).len(), 1, "{part}");
    }
    assert_eq!(differences(&file, &page, &format!("{runbooks}\n## SluiceIngestElse\n")).len(), 1);
    let changed = page.replace("[SluiceIngestSlowWrites](runbooks.md#sluiceingestslowwrites)", "");
    assert_eq!(differences(&file, &changed, &runbooks).len(), 1);
}

#[test]
fn the_pages_expressions_use_exported_metrics() {
    let page = read(METRICS);
    let (_, questions) = page.split_once("## Questions").unwrap();
    let expressions: Vec<_> = questions.split('`').filter(|text| text.contains("(sluice_ingest_")).collect();
    assert!(expressions.len() > 3);
    for expression in expressions {
        assert_eq!(promql::unknown(expression, &known()), [""; 0], "{expression}");
    }
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

fn expressions(dashboard: &Value) -> Vec<&str> {
    let targets = panels(dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

/// Every fault of the dashboard, one line each.
fn faults(dashboard: &Value) -> Vec<String> {
    let known = known();
    let mut shown = BTreeSet::new();
    let mut faults = Vec::new();
    for expression in expressions(dashboard) {
        faults.extend(promql::unknown(expression, &known).into_iter().map(|what| format!("{expression}: {what}")));
        let names = promql::names(expression).selected;
        shown.extend(names.iter().filter_map(|(name, _)| promql::metric(&known, name)).map(|(name, _)| name.clone()));
    }
    faults.extend(known.keys().filter(|name| !shown.contains(*name)).map(|name| format!("{name} is on no panel")));
    let mut ids = BTreeSet::new();
    for panel in panels(dashboard) {
        let title = &panel["title"];
        if !ids.insert(panel["id"].as_u64()) {
            faults.push(format!("{title}: another panel has the same ID"));
        }
        if panel["type"] != "row" && panel["datasource"]["uid"] != "${datasource}" {
            faults.push(format!("{title}: has a different data source"));
        }
        let grid = &panel["gridPos"];
        if grid["x"].as_u64().unwrap() + grid["w"].as_u64().unwrap() > 24 {
            faults.push(format!("{title}: exceeds the grid"));
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    if !variables.iter().any(|variable| variable["type"] == "datasource" && variable["name"] == "datasource") {
        faults.push("the data source cannot be chosen".to_owned());
    }
    faults
}

#[test]
fn the_dashboard_shows_every_metric_and_nothing_else() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 41, "the schema is of a current Grafana");
    assert_eq!(faults(&dashboard), [""; 0]);
}

#[test]
fn a_fault_in_the_dashboard_is_detected() {
    let text = read(DASHBOARD);
    for (from, to) in [
        ("sluice_ingest_lookups_total", "sluice_ingest_lookup_total"),
        ("by (le, stage)", "by (le, stages)"),
        ("\"uid\": \"${datasource}\"", "\"uid\": \"prometheus\""),
        ("\"id\": 3,", "\"id\": 2,"),
        ("\"type\": \"datasource\"", "\"type\": \"custom\""),
        ("\"x\": 20,", "\"x\": 21,"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} exists");
        assert_ne!(faults(&serde_json::from_str(&changed).unwrap()), [""; 0], "{from}");
    }
}

#[test]
fn names_are_found_in_every_kind_of_expression() {
    let names = promql::names(
        "sum by (a, le) (rate(m_total{b!=\"x{,}y\", c=~\"$c\"}[5m] offset 1h)) / on (a) group_left () n > 0.5e3 unless bool inf_like",
    );
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<BTreeSet<_>>();
    let expected = [("m_total", labels(&["b", "c"])), ("n", labels(&[])), ("inf_like", labels(&[]))];
    assert_eq!(names.selected, expected.map(|(name, labels)| (name.to_owned(), labels)));
    assert!(names.grouped.is_superset(&labels(&["a", "le"])));
}
