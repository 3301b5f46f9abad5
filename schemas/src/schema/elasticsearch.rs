//! Elasticsearch: the index template of the monthly `communications-YYYY.MM` and its lifecycle policy, fitted to the
//! features of the cluster. What the cluster does not support is skipped and reported.

mod cluster;
mod files;
pub(crate) mod run;

use serde_json::Value;

use self::cluster::{Cluster, Features};
use self::files::{POLICY, TEMPLATE};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::facts::{self, Facts};
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

/// Applies the template and the policy; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    let cluster = Cluster::connect(stores)?;
    let features = cluster.features().await?;
    let mut applied = Vec::new();
    // The template names the policy, so the policy comes first.
    if features.lifecycle {
        let path = format!("/_ilm/policy/{}", names.index(POLICY));
        let expected = files::policy(&features)?;
        let current = cluster.get(&path).await?.map(|response| policy_in(&response, names));
        applied.push(put(&cluster, &path, &expected, current.as_ref()).await?);
    }
    let path = format!("/_index_template/{}", names.index(TEMPLATE));
    let expected = files::template(&features, names)?;
    let current = cluster.get(&path).await?.map(|response| template_in(&response, &expected));
    applied.push(put(&cluster, &path, &expected, current.as_ref()).await?);
    applied.extend(skipped(&features));
    Ok(applied)
}

async fn put(
    cluster: &Cluster,
    path: &str,
    expected: &Value,
    current: Option<&Value>,
) -> Result<AppliedObject, SchemaError> {
    let outcome = match current {
        Some(current) if current == expected => Outcome::Unchanged,
        Some(_) => Outcome::Updated,
        None => Outcome::Created,
    };
    if outcome != Outcome::Unchanged {
        cluster.put(path, expected).await?;
    }
    Ok(AppliedObject::new(Store::Elasticsearch, path.trim_start_matches("/_").replace('/', " "), outcome))
}

/// Features that the files require and this cluster does not support.
fn skipped(features: &Features) -> Vec<AppliedObject> {
    let mut skipped = Vec::new();
    let mut skip = |object: &str, reason: String| {
        skipped.push(AppliedObject::skipped(Store::Elasticsearch, object, reason));
    };
    if !features.lifecycle {
        skip("lifecycle policy", "this Elasticsearch has no index lifecycle management".to_owned());
    } else if !features.searchable_snapshots {
        skip(
            "searchable snapshots",
            "the license does not include them; indices stay unchanged until they are deleted".to_owned(),
        );
    }
    if !features.language_analyzers {
        skip("language analyzers", "this Elasticsearch has the standard analyzer only".to_owned());
    }
    let (shards, replicas) = files::shape(features.data_nodes);
    if (shards, replicas) != files::shape(usize::MAX) {
        let reason = format!("{} data node(s) hold {shards} shard(s) with {replicas} replica(s)", features.data_nodes);
        skip("3 shards with 1 replica", reason);
    }
    skipped
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let cluster = Cluster::connect(stores)?;
    let features = cluster.features().await?;
    let expected = files::template(&features, names)?;
    let response = cluster.get(&format!("/_index_template/{}", names.index(TEMPLATE))).await?;
    let found = response.map(|response| template_in(&response, &expected));
    let mut drift = compare("template", &expected, found.as_ref());
    if features.lifecycle {
        let response = cluster.get(&format!("/_ilm/policy/{}", names.index(POLICY))).await?;
        let found = response.map(|response| policy_in(&response, names));
        drift.extend(compare("lifecycle policy", &files::policy(&features)?, found.as_ref()));
    }
    Ok(drift)
}

fn compare(object: &str, expected: &Value, found: Option<&Value>) -> Vec<Drift> {
    let flat = |value: &Value| {
        let mut facts = Facts::new();
        flatten(object, value, &mut facts);
        facts
    };
    facts::compare(Store::Elasticsearch, &flat(expected), &found.map(flat).unwrap_or_default())
}

/// `{"a": {"b": 1}}` becomes `object a.b -> 1`.
fn flatten(path: &str, value: &Value, facts: &mut Facts) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let separator = if path.contains(' ') { '.' } else { ' ' };
                flatten(&format!("{path}{separator}{name}"), value, facts);
            }
        }
        Value::String(text) => drop(facts.insert(path.to_owned(), text.clone())),
        other => drop(facts.insert(path.to_owned(), other.to_string())),
    }
}

/// The stored template, without the top-level keys that the server adds.
fn template_in(response: &Value, expected: &Value) -> Value {
    let stored = &response["index_templates"][0]["index_template"];
    let keys = expected.as_object().into_iter().flat_map(|fields| fields.keys());
    keys.map(|key| (key.clone(), stored[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn policy_in(response: &Value, names: &Names) -> Value {
    serde_json::json!({ "policy": { "phases": response[names.index(POLICY)]["policy"]["phases"] } })
}

/// Deletes the namespace's indices, templates and policy.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let cluster = Cluster::connect(stores)?;
    for index in cluster.indices(&names.index("*")).await? {
        cluster.delete(&format!("/{index}")).await?;
    }
    cluster.delete(&format!("/_index_template/{}", names.index("*"))).await?;
    cluster.delete(&format!("/_component_template/{}", names.index("*"))).await?;
    if cluster.features().await?.lifecycle {
        cluster.delete(&format!("/_ilm/policy/{}", names.index(POLICY))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_field_is_reported_by_its_path() {
        let expected = serde_json::json!({"template": {"settings": {"index": {"refresh_interval": "1s"}}}});
        let found = serde_json::json!({"template": {"settings": {"index": {"refresh_interval": "30s"}}}});
        let drift = compare("template", &expected, Some(&found));
        assert_eq!(drift.len(), 1);
        assert_eq!(drift[0].object, "template template.settings.index.refresh_interval");
        assert_eq!(drift[0].found, "30s");
        assert_eq!(compare("template", &expected, None).len(), 1);
    }

    #[test]
    fn unsupported_features_are_reported() {
        let local =
            Features { data_nodes: 1, lifecycle: false, searchable_snapshots: false, language_analyzers: false };
        let objects: Vec<_> = skipped(&local).into_iter().map(|applied| applied.object).collect();
        assert_eq!(objects, ["lifecycle policy", "language analyzers", "3 shards with 1 replica"]);
        let full = Features { data_nodes: 3, lifecycle: true, searchable_snapshots: true, language_analyzers: true };
        assert_eq!(skipped(&full), []);
    }
}
