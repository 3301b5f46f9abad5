//! The topics that `kafka/topics.toml` defines. This module never connects to a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::error::{SchemaError, refused};
use crate::names::Names;
use crate::store::Store;

const TOPICS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/topics.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topic: Vec<Topic>,
}

/// A topic as defined in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topic {
    pub(super) name: String,
    /// The key that producers use; documentation only.
    #[serde(rename = "key")]
    _key: String,
    pub(super) partitions: i32,
    pub(super) replication_factor: i32,
    min_insync_replicas: i32,
    #[serde(with = "humantime_serde")]
    retention: Duration,
    cleanup_policy: String,
    max_message: ByteSize,
}

impl Topic {
    /// The topic that marks a run's namespace.
    pub(super) fn marker(name: String) -> Self {
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

    /// The replication factor, capped by the number of brokers.
    pub(super) fn replication(&self, brokers: usize) -> i32 {
        i32::try_from(brokers).map_or(self.replication_factor, |brokers| self.replication_factor.min(brokers))
    }

    /// The topic's settings, by Kafka's names.
    pub(super) fn config(&self, brokers: usize) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("cleanup.policy", self.cleanup_policy.clone()),
            ("max.message.bytes", self.max_message.as_u64().to_string()),
            ("min.insync.replicas", self.min_insync_replicas.min(self.replication(brokers)).to_string()),
            ("retention.ms", self.retention.as_millis().to_string()),
        ])
    }
}

/// All topics, under the namespace's names.
pub(super) fn topics(names: &Names) -> Result<Vec<Topic>, SchemaError> {
    let file: File = toml::from_str(TOPICS).map_err(refused(Store::Kafka, "read topics.toml"))?;
    Ok(file.topic.into_iter().map(|topic| Topic { name: names.topic(&topic.name), ..topic }).collect())
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
}
