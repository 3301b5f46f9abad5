//! Elasticsearch in a run's namespace. The marker is a component template whose name ends with the mark. Everything
//! that a run creates has the mark in its name; nothing else is ever deleted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::files::{POLICY, TEMPLATE};
use crate::error::SchemaError;
use crate::names::{Mark, Names};
use crate::schema::marker::Marker;
use crate::stores::Stores;

/// Prefix of the marker's name, after the namespace.
const MARKER: &str = "sluice-run-";

/// The marks of all marker templates of the namespace.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    let prefix = format!("{}-{MARKER}", names.namespace());
    let listed = component_templates(&Cluster::connect(stores)?, &format!("{prefix}*")).await?;
    Ok(listed.iter().filter_map(|name| Mark::parse(name.strip_prefix(&prefix)?)).collect())
}

async fn component_templates(cluster: &Cluster, pattern: &str) -> Result<Vec<String>, SchemaError> {
    let response = cluster.get(&format!("/_component_template/{pattern}")).await?;
    Ok(names_in(response.as_ref(), "component_templates"))
}

/// The names of the objects that a response lists under `key`.
fn names_in(response: Option<&Value>, key: &str) -> Vec<String> {
    let listed = response.and_then(|response| response[key].as_array()).map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter_map(|object| object["name"].as_str()).map(str::to_owned).collect()
}

/// Everything under the namespace's names that does not carry the mark.
pub(crate) async fn foreign(stores: &Stores, names: &Names) -> Result<Vec<String>, SchemaError> {
    let cluster = Cluster::connect(stores)?;
    let (all, own) = (format!("{}-*", names.namespace()), names.index(""));
    let mut foreign: Vec<String> =
        cluster.indices(&all).await?.into_iter().map(|index| ("index", index)).map(describe).collect();
    let templates = cluster.get(&format!("/_index_template/{all}")).await?;
    foreign
        .extend(names_in(templates.as_ref(), "index_templates").into_iter().map(|name| describe(("template", name))));
    let components = component_templates(&cluster, &all).await?;
    foreign.extend(components.into_iter().map(|name| describe(("component template", name))));
    if cluster.features().await?.lifecycle {
        let policies = cluster.get(&format!("/_ilm/policy/{all}")).await?.unwrap_or_default();
        let policies = policies.as_object().into_iter().flat_map(|policies| policies.keys().cloned());
        foreign.extend(policies.map(|name| describe(("policy", name))));
    }
    foreign.retain(|object| !object.contains(&format!(" {own}")));
    Ok(foreign)
}

fn describe((kind, name): (&str, String)) -> String {
    format!("{kind} {name}")
}

/// Creates the marker's component template. No index template uses it.
pub(crate) async fn create_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let (Some(mark), Some(text)) = (names.mark(), Marker::encode(names)) else { return Ok(()) };
    let cluster = Cluster::connect(stores)?;
    let path = format!("/_component_template/{}-{MARKER}{}", names.namespace(), mark.as_str());
    if cluster.get(&path).await?.is_some() {
        return Ok(());
    }
    let marker: Value = serde_json::from_str(&text).unwrap_or_default();
    cluster.put(&path, &json!({ "template": {}, "_meta": marker })).await
}

/// Deletes the indices, the template and the policy with the mark in their names.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    if names.mark().is_none() {
        return Ok(());
    }
    let cluster = Cluster::connect(stores)?;
    for index in cluster.indices(&names.index("communications-*")).await? {
        cluster.delete(&format!("/{index}")).await?;
    }
    cluster.delete(&format!("/_index_template/{}", names.index(TEMPLATE))).await?;
    if cluster.features().await?.lifecycle {
        cluster.delete(&format!("/_ilm/policy/{}", names.index(POLICY))).await?;
    }
    Ok(())
}
