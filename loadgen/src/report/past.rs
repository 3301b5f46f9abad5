//! The last report of a scenario, read for what it measured about each SLO. It never reads more of a report than that,
//! and skips files that it can't read: a forecast without a past is based on an assumption.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::contents::VERSION;
use crate::scenario::{Scenario, Slo};
use crate::verdict::{Behavior, Validity, is_valid};

#[derive(Deserialize)]
struct PastReport {
    version: u32,
    run: Run,
    findings: Findings,
}

#[derive(Deserialize)]
struct Run {
    started_at: chrono::DateTime<chrono::Utc>,
    scenario: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Findings {
    slos: Vec<Judged>,
    validity: Validity,
    #[serde(default)]
    interrupted: Option<String>,
}

#[derive(Deserialize)]
struct Judged {
    slo: Slo,
    effective: Effective,
}

#[derive(Deserialize)]
struct Effective {
    samples: f64,
    exceedances: f64,
    taken_from: u64,
}

/// What the newest report of a scenario in the folder `runs` measured, by the names of its SLOs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    /// Start of that run; `None` if there is no report.
    pub started_at: Option<chrono::DateTime<chrono::Utc>>,
    /// The behavior of each SLO that had samples.
    pub slos: BTreeMap<String, Behavior>,
}

/// Reads the newest report of the scenario, of a valid run. An SLO that counts other exceedances than today's has
/// no past.
pub fn past(runs: &Path, scenario: &Scenario) -> Past {
    let folders = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let reports = folders.filter_map(|folder| read(&folder.path().join("report.json")));
    let of_scenario = reports.filter(|report| {
        let Findings { validity, interrupted, .. } = &report.findings;
        report.run.scenario.name == scenario.name && is_valid(validity, interrupted.as_deref())
    });
    let newest = of_scenario.max_by_key(|report| report.run.started_at);
    let Some(report) = newest else { return Past::default() };
    let is_same = |past: &Slo| scenario.slos.iter().any(|slo| slo.counts_like(past) && slo.in_every == past.in_every);
    let slos = report.findings.slos.into_iter();
    let measured = slos.filter(|judged| judged.effective.taken_from > 0 && is_same(&judged.slo));
    let behavior = |judged: Judged| {
        let Effective { samples, exceedances, taken_from } = judged.effective;
        (judged.slo.name, Behavior::measured(taken_from, samples, exceedances))
    };
    Past { started_at: Some(report.run.started_at), slos: measured.map(behavior).collect() }
}

fn read(path: &Path) -> Option<PastReport> {
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str(&text).ok().filter(|report: &PastReport| report.version == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smoke() -> Scenario {
        Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap()
    }

    fn report(scenario: &str, day: u32, exceedances: f64) -> String {
        let smoke = smoke();
        let search = smoke.slos.iter().find(|slo| slo.name == "search").unwrap();
        serde_json::json!({
            "version": VERSION,
            "run": { "started_at": format!("2026-11-{day:02}T09:00:00Z"), "scenario": { "name": scenario } },
            "findings": { "validity": "valid", "slos": [{
                "slo": search,
                "effective": { "samples": 500.0, "exceedances": exceedances, "taken_from": 1_000 },
            }] },
        })
        .to_string()
    }

    #[test]
    fn the_newest_report_of_the_scenario_counts_and_broken_ones_do_not() {
        let runs = tempfile::tempdir().unwrap();
        let reports = [
            ("a", report("smoke", 20, 9.5)),
            ("b", report("smoke", 21, 4.5)),
            ("c", report("day", 22, 0.0)),
            ("d", "{".to_owned()),
            ("e", report("smoke", 23, 0.0).replace(&format!("\"version\":{VERSION}"), "\"version\":1")),
            ("f", report("smoke", 24, 0.0).replace("\"valid\"", "{\"invalid\":[\"late\"]}")),
            ("g", report("smoke", 25, 0.0).replace("\"validity\"", "\"interrupted\":\"settling\",\"validity\"")),
        ];
        for (folder, text) in reports {
            std::fs::create_dir(runs.path().join(folder)).unwrap();
            std::fs::write(runs.path().join(folder).join("report.json"), text).unwrap();
        }
        let scenario = smoke();
        let past = past(runs.path(), &scenario);
        assert_eq!(past.started_at.unwrap().to_rfc3339(), "2026-11-21T09:00:00+00:00");
        assert_eq!(past.slos["search"], Behavior { share: 5.0 / 501.0, correlation: 2.0, is_measured: true });
        let mut stricter = scenario.clone();
        stricter.slos.iter_mut().find(|slo| slo.name == "search").unwrap().within /= 2;
        assert_eq!(super::past(runs.path(), &stricter).slos.len(), 0, "it counts other exceedances");
        assert_eq!(super::past(Path::new("/nowhere"), &scenario), Past::default());
        assert_eq!(super::past(runs.path(), &Scenario { name: "week".to_owned(), ..scenario }), Past::default());
    }
}
