//! Elasticsearch: the index template of the monthly `communications-YYYY.MM` and its lifecycle policy, fitted to what the
//! cluster offers. What it lacks is left out and said.

mod cluster;
mod files;
pub(crate) mod run;

use serde_json::Value;

use self::cluster::{Cluster, Offers};
use crate::apply::{Applied, Outcome};
use crate::check::Drift;
use crate::error::SchemaError;
use crate::facts::{self, Facts};
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

const TEMPLATE: &str = "communications";
const POLICY: &str = "communications-policy";

/// Applies the template and the policy; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<Applied>, SchemaError> {
    let cluster = Cluster::connect(stores)?;
    let offers = cluster.offers().await?;
    let mut applied = Vec::new();
    // The template names the policy, so the policy comes first.
    if offers.lifecycle {
        let path = format!("/_ilm/policy/{}", names.index(POLICY));
        let expected = files::policy(&offers)?;
        let found = cluster.get(&path).await?.map(|answer| policy_in(&answer, names));
        applied.push(put(&cluster, &path, &expected, found.as_ref()).await?);
    }
    let path = format!("/_index_template/{}", names.index(TEMPLATE));
    let expected = files::template(&offers, names)?;
    let found = cluster.get(&path).await?.map(|answer| template_in(&answer, &expected));
    applied.push(put(&cluster, &path, &expected, found.as_ref()).await?);
    applied.extend(skipped(&offers));
    Ok(applied)
}

async fn put(cluster: &Cluster, path: &str, expected: &Value, found: Option<&Value>) -> Result<Applied, SchemaError> {
    let outcome = match found {
        Some(found) if found == expected => Outcome::Unchanged,
        Some(_) => Outcome::Updated,
        None => Outcome::Created,
    };
    if outcome != Outcome::Unchanged {
        cluster.put(path, expected).await?;
    }
    Ok(Applied::new(Store::Elasticsearch, path.trim_start_matches("/_").replace('/', " "), outcome))
}

/// What the files ask for and this cluster does not have.
fn skipped(offers: &Offers) -> Vec<Applied> {
    let mut skipped = Vec::new();
    let mut skip = |what: &str, reason: String| {
        skipped.push(Applied::new(Store::Elasticsearch, what, Outcome::Skipped(reason)));
    };
    if !offers.lifecycle {
        skip("lifecycle policy", "this Elasticsearch has no index lifecycle management".to_owned());
    } else if !offers.searchable_snapshots {
        skip(
            "searchable snapshots",
            "the licence does not have them; indices stay as they are until deletion".to_owned(),
        );
    }
    if !offers.languages {
        skip("language analyzers", "this Elasticsearch has the standard analyzer only".to_owned());
    }
    let (shards, replicas) = files::shape(offers.data_nodes);
    if (shards, replicas) != files::shape(usize::MAX) {
        let reason = format!("{} data node(s) carry {shards} shard(s) with {replicas} replica(s)", offers.data_nodes);
        skip("3 shards with 1 replica", reason);
    }
    skipped
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let cluster = Cluster::connect(stores)?;
    let offers = cluster.offers().await?;
    let expected = files::template(&offers, names)?;
    let answer = cluster.get(&format!("/_index_template/{}", names.index(TEMPLATE))).await?;
    let found = answer.map(|answer| template_in(&answer, &expected));
    let mut drift = compare("template", &expected, found.as_ref());
    if offers.lifecycle {
        let answer = cluster.get(&format!("/_ilm/policy/{}", names.index(POLICY))).await?;
        let found = answer.map(|answer| policy_in(&answer, names));
        drift.extend(compare("lifecycle policy", &files::policy(&offers)?, found.as_ref()));
    }
    Ok(drift)
}

fn compare(what: &str, expected: &Value, found: Option<&Value>) -> Vec<Drift> {
    let flat = |value: &Value| {
        let mut facts = Facts::new();
        flatten(what, value, &mut facts);
        facts
    };
    facts::compare(Store::Elasticsearch, &flat(expected), &found.map(flat).unwrap_or_default())
}

/// `{"a": {"b": 1}}` becomes `what a.b -> 1`.
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

/// The stored template, without keys that the server adds at its top.
fn template_in(answer: &Value, expected: &Value) -> Value {
    let stored = &answer["index_templates"][0]["index_template"];
    let keys = expected.as_object().into_iter().flat_map(|fields| fields.keys());
    keys.map(|key| (key.clone(), stored[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn policy_in(answer: &Value, names: &Names) -> Value {
    serde_json::json!({ "policy": { "phases": answer[names.index(POLICY)]["policy"]["phases"] } })
}

/// Deletes the namespace's indices, templates and policies.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let cluster = Cluster::connect(stores)?;
    for index in cluster.indices(&names.index("*")).await? {
        cluster.delete(&format!("/{index}")).await?;
    }
    cluster.delete(&format!("/_index_template/{}", names.index("*"))).await?;
    cluster.delete(&format!("/_component_template/{}", names.index("*"))).await?;
    if cluster.offers().await?.lifecycle {
        cluster.delete(&format!("/_ilm/policy/{}", names.index(POLICY))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_field_is_named_by_its_path() {
        let expected = serde_json::json!({"template": {"settings": {"index": {"refresh_interval": "1s"}}}});
        let found = serde_json::json!({"template": {"settings": {"index": {"refresh_interval": "30s"}}}});
        let drift = compare("template", &expected, Some(&found));
        assert_eq!(drift.len(), 1);
        assert_eq!(drift[0].object, "template template.settings.index.refresh_interval");
        assert_eq!(drift[0].found, "30s");
        assert_eq!(compare("template", &expected, None).len(), 1);
    }

    #[test]
    fn what_a_small_cluster_lacks_is_said() {
        let local = Offers { data_nodes: 1, lifecycle: false, searchable_snapshots: false, languages: false };
        let said: Vec<_> = skipped(&local).into_iter().map(|applied| applied.what).collect();
        assert_eq!(said, ["lifecycle policy", "language analyzers", "3 shards with 1 replica"]);
        let full = Offers { data_nodes: 3, lifecycle: true, searchable_snapshots: true, languages: true };
        assert_eq!(skipped(&full), []);
    }
}
