//! Kafka: the topics of `kafka/topics.toml`. Creates what is missing, adds partitions, sets what differs; never takes
//! partitions away, since Kafka cannot.

mod cluster;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use self::cluster::{Cluster, State};
use crate::apply::{Applied, Outcome};
use crate::check::Drift;
use crate::error::SchemaError;
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

const TOPICS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/topics.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topic: Vec<Topic>,
}

/// A topic as the file states it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    name: String,
    /// What its producers key by; for people.
    #[serde(rename = "key")]
    _key: String,
    partitions: i32,
    replication_factor: i32,
    min_insync_replicas: i32,
    #[serde(with = "humantime_serde")]
    retention: Duration,
    cleanup_policy: String,
    max_message: ByteSize,
}

impl Topic {
    /// The marker of a run's namespace.
    fn marker(name: String) -> Self {
        Self {
            name,
            _key: "the object".to_owned(),
            partitions: 1,
            replication_factor: 3,
            min_insync_replicas: 1,
            retention: Duration::MAX,
            cleanup_policy: "delete".to_owned(),
            max_message: ByteSize::kib(64),
        }
    }

    fn replication(&self, brokers: usize) -> i32 {
        i32::try_from(brokers).map_or(self.replication_factor, |brokers| self.replication_factor.min(brokers))
    }

    /// The topic's own settings, by Kafka's names.
    fn config(&self, brokers: usize) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("cleanup.policy", self.cleanup_policy.clone()),
            ("max.message.bytes", self.max_message.as_u64().to_string()),
            ("min.insync.replicas", self.min_insync_replicas.min(self.replication(brokers)).to_string()),
            ("retention.ms", self.retention.as_millis().to_string()),
        ])
    }
}

fn topics(names: &Names) -> Result<Vec<Topic>, SchemaError> {
    let file: File = toml::from_str(TOPICS).map_err(crate::error::refused(Store::Kafka, "read topics.toml"))?;
    Ok(file.topic.into_iter().map(|topic| Topic { name: names.topic(&topic.name), ..topic }).collect())
}

/// Applies the topics; see [`crate::apply::apply`].
pub(crate) async fn apply(stores: &Stores, names: &Names) -> Result<Vec<Applied>, SchemaError> {
    let cluster = Cluster::connect(stores).await?;
    let missing = missing(&cluster, names).await?;
    run::note_topics(stores, names, &missing, run::State::Intended).await?;
    let mut applied = Vec::new();
    for topic in topics(names)? {
        let outcome = apply_topic(&cluster, &topic).await?;
        applied.push(Applied::new(Store::Kafka, format!("topic {}", topic.name), outcome));
    }
    run::note_topics(stores, names, &missing, run::State::Made).await?;
    let brokers = cluster.brokers();
    if let Some(topic) = topics(names)?.iter().find(|topic| topic.replication_factor > topic.replication(brokers)) {
        let reason = format!("the cluster has {brokers} broker(s), so topics have {brokers} replica(s)");
        let what = format!("replication factor {}", topic.replication_factor);
        applied.push(Applied::new(Store::Kafka, what, Outcome::Skipped(reason)));
    }
    Ok(applied)
}

/// Topics that are to be made.
async fn missing(cluster: &Cluster, names: &Names) -> Result<Vec<String>, SchemaError> {
    let there = cluster.topics_with(&names.topic("")).await?;
    Ok(topics(names)?.into_iter().map(|topic| topic.name).filter(|topic| !there.contains(topic)).collect())
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

/// Whether a stated setting has another value, or a setting is set that the file does not state.
fn differs(config: &BTreeMap<&'static str, String>, state: &State) -> bool {
    config.iter().any(|(name, value)| state.config.get(*name) != Some(value))
        || state.own.iter().any(|name| !config.contains_key(name.as_str()))
}

/// Compares; see [`crate::check::check`].
pub(crate) async fn check(stores: &Stores, names: &Names) -> Result<Vec<Drift>, SchemaError> {
    let cluster = Cluster::connect(stores).await?;
    let mut drift = Vec::new();
    for topic in topics(names)? {
        match cluster.state(&topic.name).await? {
            Some(state) => drift.extend(compare(&topic, &state, cluster.brokers())),
            None => drift.push(difference(&topic, "", "there", "nothing")),
        }
    }
    Ok(drift)
}

fn compare(topic: &Topic, state: &State, brokers: usize) -> Vec<Drift> {
    let config = topic.config(brokers);
    let counts = [
        (" partitions", topic.partitions, state.partitions),
        (" replication factor", topic.replication(brokers), state.replicas),
    ];
    let counts = counts.into_iter().filter(|(_, expected, found)| expected != found);
    let counts =
        counts.map(|(what, expected, found)| difference(topic, what, &expected.to_string(), &found.to_string()));
    let unset = "not set".to_owned();
    let stated = config.iter().filter_map(|(name, value)| {
        let found = state.config.get(*name).unwrap_or(&unset);
        (found != value).then(|| difference(topic, &format!(" {name}"), value, found))
    });
    let extra = state
        .own
        .iter()
        .filter(|name| !config.contains_key(name.as_str()))
        .map(|name| difference(topic, &format!(" {name}"), "not set", state.config.get(name).unwrap_or(&unset)));
    counts.chain(stated).chain(extra).collect()
}

fn difference(topic: &Topic, what: &str, expected: &str, found: &str) -> Drift {
    Drift {
        store: Store::Kafka,
        object: format!("topic {}{what}", topic.name),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// Deletes the namespace's topics and idle groups, and waits until the broker no longer lists them.
pub(crate) async fn drop_namespace(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let (cluster, prefix) = (Cluster::connect(stores).await?, names.topic(""));
    cluster.delete_topics(&cluster.topics_with(&prefix).await?).await?;
    cluster.delete_groups(&cluster.groups_with(&prefix).await?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_of_the_adr_is_stated_and_fits_one_broker() {
        let topics = topics(&Names::new("t").unwrap()).unwrap();
        let listed: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let expected = ["t.communication-events", "t.agent-metrics", "t.customer-interactions", "t.clickhouse-errors"];
        assert_eq!(listed, expected);
        let config = topics[0].config(1);
        assert_eq!(config["min.insync.replicas"], "1");
        assert_eq!(config["retention.ms"], "604800000");
        assert_eq!(topics[3].config(3)["max.message.bytes"], "1114112");
    }

    #[test]
    fn a_setting_that_differs_and_one_that_nobody_stated_are_drift() {
        let topic = topics(&Names::platform()).unwrap().remove(0);
        let mut config: BTreeMap<String, String> =
            topic.config(1).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        config.insert("retention.ms".to_owned(), "1000".to_owned());
        config.insert("segment.ms".to_owned(), "5".to_owned());
        let state = State { partitions: 5, replicas: 1, config, own: vec!["retention.ms".into(), "segment.ms".into()] };
        let objects: Vec<_> = compare(&topic, &state, 1).into_iter().map(|drift| drift.object).collect();
        let topic = "topic communication-events";
        let expected = ["partitions", "retention.ms", "segment.ms"].map(|what| format!("{topic} {what}"));
        assert_eq!(objects, expected);
    }
}
