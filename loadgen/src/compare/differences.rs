//! What differs between two sides besides what was measured: the scenario, the configuration, the machine and the versions
//! of the stores. Secrets are hidden in reports already. It never says which difference explains a change.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::report::Report;

/// Shown for a value that a side does not have.
const NONE: &str = "-";
/// Shown where the runs of one side differ among themselves.
const SEVERAL: &str = ", ";
/// Where a run's stores and files lie says nothing about their speed.
const IGNORED: &[&str] = &["config.verify.runs", "scenario.description"];

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The value, such as `scenario.probes.search` or `versions.postgres`.
    pub what: String,
    /// The values of side A; several if its runs differ.
    pub a: String,
    /// The values of side B.
    pub b: String,
}

/// All differences, in the order of their names.
pub(super) fn differences(a: &[Report], b: &[Report]) -> Vec<Difference> {
    let [a, b] = [a, b].map(|side| side.iter().map(values).collect::<Vec<_>>());
    let names: BTreeSet<&String> = a.iter().chain(&b).flat_map(BTreeMap::keys).collect();
    let of = |side: &[BTreeMap<String, String>], name: &String| -> BTreeSet<String> {
        side.iter().map(|run| run.get(name).cloned().unwrap_or_else(|| NONE.to_owned())).collect()
    };
    let difference = |name: &String| {
        let [a, b] = [of(&a, name), of(&b, name)];
        let text = |values: BTreeSet<String>| values.into_iter().collect::<Vec<_>>().join(SEVERAL);
        (a != b).then(|| Difference { what: name.clone(), a: text(a), b: text(b) })
    };
    let is_relevant = |name: &&String| !IGNORED.contains(&name.as_str());
    names.into_iter().filter(is_relevant).filter_map(difference).collect()
}

/// Every value of a run by its path.
fn values(report: &Report) -> BTreeMap<String, String> {
    let run = &report.run;
    let json = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
    let mut values = BTreeMap::new();
    flatten("scenario", &json(serde_json::to_value(&run.scenario)), &mut values);
    flatten("config", &run.config, &mut values);
    flatten("machine", &json(serde_json::to_value(&run.machine)), &mut values);
    flatten("versions", &json(serde_json::to_value(&run.stores)), &mut values);
    values.insert("plan".to_owned(), run.digest.chars().take(16).collect());
    values
}

fn flatten(path: &str, value: &Value, values: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&format!("{path}.{key}"), value, values);
            }
        }
        // The parts of a scenario that are lists have names.
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for (index, item) in items.iter().enumerate() {
                let key = item.get("name").and_then(Value::as_str).map_or_else(|| index.to_string(), str::to_owned);
                flatten(&format!("{path}.{key}"), item, values);
            }
        }
        Value::String(text) => drop(values.insert(path.to_owned(), text.clone())),
        other => drop(values.insert(path.to_owned(), other.to_string())),
    }
}
