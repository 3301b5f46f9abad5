//! The template and policy files, fitted to the features of a cluster. This module performs no I/O.

use serde_json::{Value, json};

use super::cluster::Features;
use crate::error::{SchemaError, refused};
use crate::names::Names;
use crate::store::Store;

/// Name of the index template.
pub(super) const TEMPLATE: &str = "communications";
/// Name of the lifecycle policy.
pub(super) const POLICY: &str = "communications-policy";

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/elasticsearch/", $name)))
    };
}

fn parse((name, text): (&str, &str)) -> Result<Value, SchemaError> {
    serde_json::from_str(text).map_err(refused(Store::Elasticsearch, format!("read {name}")))
}

/// Shards and replicas that `data_nodes` can hold: the ADR's 3 and 1, or fewer.
pub(super) fn shape(data_nodes: usize) -> (usize, usize) {
    (data_nodes.clamp(1, 3), data_nodes.saturating_sub(1).min(1))
}

/// The index template.
pub(super) fn template(features: &Features, names: &Names) -> Result<Value, SchemaError> {
    let mut template = parse(file!("communications_template.json"))?;
    template["index_patterns"] = json!([names.index("communications-*")]);
    let (shards, replicas) = shape(features.data_nodes);
    let settings = &mut template["template"]["settings"]["index"];
    settings["number_of_shards"] = json!(shards.to_string());
    settings["number_of_replicas"] = json!(replicas.to_string());
    settings["lifecycle"]["name"] = json!(names.index(POLICY));
    if !features.lifecycle {
        // The server refuses an unknown setting.
        settings.as_object_mut().map(|settings| settings.remove("lifecycle"));
    }
    if features.language_analyzers {
        template["template"]["mappings"]["properties"]["content"]["fields"] = parse(file!("language_fields.json"))?;
    }
    Ok(template)
}

/// The lifecycle policy.
pub(super) fn policy(features: &Features) -> Result<Value, SchemaError> {
    let mut policy = parse(file!("communications_policy.json"))?;
    if !features.searchable_snapshots {
        policy["policy"]["phases"].as_object_mut().map(|phases| phases.remove("cold"));
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Features =
        Features { data_nodes: 3, lifecycle: true, searchable_snapshots: true, language_analyzers: true };
    const LOCAL: Features =
        Features { data_nodes: 1, lifecycle: false, searchable_snapshots: false, language_analyzers: false };

    #[test]
    fn a_full_cluster_gets_the_adrs_settings() {
        let template = template(&FULL, &Names::platform()).unwrap();
        let index = &template["template"]["settings"]["index"];
        assert_eq!((index["number_of_shards"].as_str(), index["number_of_replicas"].as_str()), (Some("3"), Some("1")));
        assert_eq!(index["lifecycle"]["name"], "communications-policy");
        assert_eq!(template["template"]["mappings"]["properties"]["content"]["fields"]["de"]["analyzer"], "german");
        assert!(policy(&FULL).unwrap()["policy"]["phases"]["cold"].is_object());
    }

    #[test]
    fn a_small_cluster_is_sent_nothing_that_it_would_refuse() {
        let template = template(&LOCAL, &Names::new("t").unwrap()).unwrap();
        let index = &template["template"]["settings"]["index"];
        assert_eq!(index.get("lifecycle"), None);
        assert_eq!((index["number_of_shards"].as_str(), index["number_of_replicas"].as_str()), (Some("1"), Some("0")));
        assert_eq!(template["index_patterns"], json!(["t-communications-*"]));
        assert_eq!(template["template"]["mappings"]["properties"]["content"].get("fields"), None);
        assert_eq!(policy(&LOCAL).unwrap()["policy"]["phases"].get("cold"), None);
    }

    #[test]
    fn a_document_of_a_months_last_day_is_kept_for_seven_calendar_years() {
        // An index ages from its creation, at the start of its month or later; seven years are 2,557 days at most.
        let policy = policy(&FULL).unwrap();
        assert_eq!(policy["policy"]["phases"]["delete"]["min_age"], format!("{}d", 2557 + 31));
        assert!(policy["policy"]["phases"]["delete"]["actions"]["delete"].is_object());
    }
}
