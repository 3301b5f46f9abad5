//! Kafka: the topics of `kafka/topics.toml`. Creates missing topics, adds partitions and corrects settings; never
//! removes partitions, since Kafka cannot.

mod cluster;
pub(crate) mod run;
mod topic;

use std::collections::BTreeMap;

use self::cluster::{Cluster, TopicState};
use self::topic::{Topic, topics};
use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::drift::Drift;
use crate::schema::outcome::{AppliedObject, Outcome};
use crate::store::Store;
use crate::stores::Stores;

/// Applies the topics; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<AppliedObject>, SchemaError> {
    let cluster = Cluster::connect(stores).await?;
    let missing = missing(&cluster, names).await?;
    run::record_intended(stores, names, &missing).await?;
    let mut applied = Vec::new();
    for topic in topics(names)? {
        let outcome = apply_topic(&cluster, &topic).await?;
        applied.push(AppliedObject::new(Store::Kafka, format!("topic {}", topic.name), outcome));
    }
    run::record_created(stores, names, &missing).await?;
    let brokers = cluster.brokers();
    if let Some(topic) = topics(names)?.iter().find(|topic| topic.replication_factor > topic.replication(brokers)) {
        let reason = format!("the cluster has {brokers} broker(s), so topics have {brokers} replica(s)");
        let object = format!("replication factor {}", topic.replication_factor);
        applied.push(AppliedObject::skipped(Store::Kafka, object, reason));
    }
    Ok(applied)
}

/// Names of the topics that do not exist yet.
async fn missing(cluster: &Cluster, names: &Names) -> Result<Vec<String>, SchemaError> {
    let existing = cluster.topics_with(&names.topic("")).await?;
    Ok(topics(names)?.into_iter().map(|topic| topic.name).filter(|topic| !existing.contains(topic)).collect())
}

async fn apply_topic(cluster: &Cluster, topic: &Topic) -> Result<Outcome, SchemaError> {
    let config = topic.config(cluster.brokers());
    let Some(state) = cluster.state(&topic.name).await? else {
        cluster.create(topic, &config).await?;
        return Ok(Outcome::Created);
    };
    let mut outcome = Outcome::Unchanged;
    if state.partitions < topic.partitions {
        cluster.add_partitions(&topic.name, topic.partitions).await?;
        outcome = Outcome::Updated;
    }
    if differs(&config, &state) {
        cluster.configure(&topic.name, &config).await?;
        outcome = Outcome::Updated;
    }
    Ok(outcome)
}

/// Whether a setting of the file has another value, or a setting is set that the file does not state.
fn differs(config: &BTreeMap<&'static str, String>, state: &TopicState) -> bool {
    config.iter().any(|(name, value)| state.config.get(*name) != Some(value))
        || state.overridden.iter().any(|name| !config.contains_key(name.as_str()))
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let cluster = Cluster::connect(stores).await?;
    let mut drift = Vec::new();
    for topic in topics(names)? {
        match cluster.state(&topic.name).await? {
            Some(state) => drift.extend(compare(&topic, &state, cluster.brokers())),
            None => drift.push(Drift::missing(Store::Kafka, format!("topic {}", topic.name))),
        }
    }
    Ok(drift)
}

fn compare(topic: &Topic, state: &TopicState, brokers: usize) -> Vec<Drift> {
    let config = topic.config(brokers);
    let counts = [
        ("partitions", topic.partitions, state.partitions),
        ("replication factor", topic.replication(brokers), state.replicas),
    ];
    let counts = counts.into_iter().filter(|(_, expected, found)| expected != found);
    let counts =
        counts.map(|(setting, expected, found)| difference(topic, setting, &expected.to_string(), &found.to_string()));
    let unset = "not set".to_owned();
    let stated = config.iter().filter_map(|(name, value)| {
        let found = state.config.get(*name).unwrap_or(&unset);
        (found != value).then(|| difference(topic, name, value, found))
    });
    let extra = state
        .overridden
        .iter()
        .filter(|name| !config.contains_key(name.as_str()))
        .map(|name| difference(topic, name, "not set", state.config.get(name).unwrap_or(&unset)));
    counts.chain(stated).chain(extra).collect()
}

fn difference(topic: &Topic, setting: &str, expected: &str, found: &str) -> Drift {
    Drift::new(Store::Kafka, format!("topic {} {setting}", topic.name), expected, found)
}

/// Deletes the namespace's topics and empty groups, and waits until the brokers no longer list them.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let (cluster, prefix) = (Cluster::connect(stores).await?, names.topic(""));
    cluster.delete_topics(&cluster.topics_with(&prefix).await?).await?;
    cluster.delete_groups(&cluster.groups_with(&prefix).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_setting_and_an_unstated_one_are_drift() {
        let topic = topics(&Names::platform()).unwrap().remove(0);
        let mut config: BTreeMap<String, String> =
            topic.config(1).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        config.insert("retention.ms".to_owned(), "1000".to_owned());
        config.insert("segment.ms".to_owned(), "5".to_owned());
        let state = TopicState {
            partitions: 5,
            replicas: 1,
            config,
            overridden: vec!["retention.ms".into(), "segment.ms".into()],
        };
        let objects: Vec<_> = compare(&topic, &state, 1).into_iter().map(|drift| drift.object).collect();
        let topic = "topic communication-events";
        let expected = ["partitions", "retention.ms", "segment.ms"].map(|what| format!("{topic} {what}"));
        assert_eq!(objects, expected);
    }
}
