//! Requests to a Kafka cluster: describe, create, extend, configure and delete topics; list and delete groups.
//! Each change returns once the brokers' metadata shows it, so that the caller can rely on it. It never decides what a
//! topic should be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use super::topic::Topic;
use crate::concurrency::blocking;
use crate::connect::{self, CONNECT_TIMEOUT, ConnectError, REQUEST_TIMEOUT};
use crate::error::{SchemaError, refused};
use crate::store::Store;
use crate::stores::Stores;

/// Interval of polling for a change.
const POLL: Duration = Duration::from_millis(20);
/// Longer than a consumer's default session timeout.
const SESSION_TIMEOUT: Duration = Duration::from_mins(1);

const METADATA: &str = "read the cluster's metadata";

/// The state of a topic in the cluster.
pub(super) struct TopicState {
    pub(super) partitions: i32,
    /// Number of replicas of the first partition.
    pub(super) replicas: i32,
    /// All settings.
    pub(super) config: BTreeMap<String, String>,
    /// Names of the settings that are set on the topic itself.
    pub(super) overridden: Vec<String>,
}

/// A connected cluster.
pub(super) struct Cluster {
    admin: Arc<AdminClient<DefaultClientContext>>,
    brokers: usize,
}

fn failed(doing: String) -> impl FnOnce(KafkaError) -> SchemaError {
    refused(Store::Kafka, doing)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

/// Turns the first failed result into an error that names its topic or group; the code `tolerated` does not count.
fn all_succeeded(
    results: Vec<Result<String, (String, RDKafkaErrorCode)>>,
    doing: &str,
    tolerated: RDKafkaErrorCode,
) -> Result<(), SchemaError> {
    let bad = results.into_iter().filter_map(Result::err).find(|(_, code)| *code != tolerated);
    bad.map_or(Ok(()), |(name, code)| Err(refused(Store::Kafka, format!("{doing} {name}"))(code)))
}

impl Cluster {
    pub(super) async fn connect(stores: &Stores) -> Result<Self, SchemaError> {
        let unreachable = |cause: KafkaError| ConnectError::new("Kafka", "kafka", stores.kafka.brokers.clone(), &cause);
        let admin = Arc::new(connect::kafka_config(stores).create::<AdminClient<_>>().map_err(unreachable)?);
        let brokers = metadata(&admin, CONNECT_TIMEOUT, |error| unreachable(error).into()).await?.brokers().len();
        Ok(Self { admin, brokers })
    }

    pub(super) fn brokers(&self) -> usize {
        self.brokers
    }

    /// The state of a topic; `None` if it does not exist.
    pub(super) async fn state(&self, name: &str) -> Result<Option<TopicState>, SchemaError> {
        let Some((partitions, replicas)) = self.counts(name).await? else {
            return Ok(None);
        };
        let doing = || format!("read the settings of topic {name}");
        let described = self.admin.describe_configs([&ResourceSpecifier::Topic(name)], &options()).await;
        let resource = described.map_err(failed(doing()))?.pop().ok_or(RDKafkaErrorCode::UnknownTopic);
        let resource = resource.and_then(|result| result).map_err(refused(Store::Kafka, doing()))?;
        let overridden = resource.entries.iter().filter(|entry| matches!(entry.source, ConfigSource::DynamicTopic));
        let overridden = overridden.map(|entry| entry.name.clone()).collect();
        let config = resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
        Ok(Some(TopicState { partitions, replicas, config, overridden }))
    }

    async fn counts(&self, name: &str) -> Result<Option<(i32, i32)>, SchemaError> {
        let metadata = self.metadata().await?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
        Ok(topic.map(|topic| {
            let partitions = topic.partitions();
            let replicas = partitions.first().map_or(0, |partition| partition.replicas().len());
            (count(partitions.len()), count(replicas))
        }))
    }

    pub(super) async fn create(
        &self,
        topic: &Topic,
        config: &BTreeMap<&'static str, String>,
    ) -> Result<(), SchemaError> {
        let replication = TopicReplication::Fixed(topic.replication(self.brokers));
        let new = NewTopic::new(&topic.name, topic.partitions, replication);
        let new = config.iter().fold(new, |new, (name, value)| new.set(name, value));
        let created = self.admin.create_topics([&new], &options()).await;
        let created = created.map_err(failed(format!("create topic {}", topic.name)))?;
        all_succeeded(created, "create topic", RDKafkaErrorCode::TopicAlreadyExists)?;
        self.wait_for_partitions(&topic.name, topic.partitions).await
    }

    pub(super) async fn add_partitions(&self, name: &str, partitions: i32) -> Result<(), SchemaError> {
        let new = NewPartitions::new(name, usize::try_from(partitions).unwrap_or(0));
        let added = self.admin.create_partitions([&new], &options()).await;
        let added = added.map_err(failed(format!("add partitions to topic {name}")))?;
        all_succeeded(added, "add partitions to topic", RDKafkaErrorCode::NoError)?;
        self.wait_for_partitions(name, partitions).await
    }

    /// Sets the topic's settings; all others are reset to the cluster's defaults.
    pub(super) async fn configure(
        &self,
        name: &str,
        config: &BTreeMap<&'static str, String>,
    ) -> Result<(), SchemaError> {
        let doing = || format!("configure topic {name}");
        let change = AlterConfig::new(ResourceSpecifier::Topic(name));
        let change = config.iter().fold(change, |change, (name, value)| change.set(name, value));
        let altered = self.admin.alter_configs([&change], &options()).await.map_err(failed(doing()))?;
        let bad = altered.into_iter().find_map(Result::err);
        bad.map_or(Ok(()), |(_, code)| Err(refused(Store::Kafka, doing())(code)))
    }

    /// Deletes topics, and waits until the brokers no longer list them. A missing topic is not an error.
    pub(super) async fn delete_topics(&self, topics: &[String]) -> Result<(), SchemaError> {
        if topics.is_empty() {
            return Ok(());
        }
        let listed: Vec<&str> = topics.iter().map(String::as_str).collect();
        let deleted = self.admin.delete_topics(&listed, &options()).await;
        let deleted = deleted.map_err(failed(format!("delete topics {}", listed.join(", "))))?;
        all_succeeded(deleted, "delete topic", RDKafkaErrorCode::UnknownTopicOrPartition)?;
        self.wait(&format!("delete topics {}", listed.join(", ")), REQUEST_TIMEOUT, || async {
            Ok(!self.topics_with("").await?.iter().any(|topic| topics.contains(topic)))
        })
        .await
    }

    /// Names of the topics that start with `prefix`.
    pub(super) async fn topics_with(&self, prefix: &str) -> Result<Vec<String>, SchemaError> {
        let metadata = self.metadata().await?;
        let topics = metadata.topics().iter().map(|topic| topic.name().to_owned());
        Ok(topics.filter(|name| name.starts_with(prefix)).collect())
    }

    /// Names of the groups that start with `prefix`.
    pub(super) async fn groups_with(&self, prefix: &str) -> Result<Vec<String>, SchemaError> {
        let (admin, start) = (Arc::clone(&self.admin), prefix.to_owned());
        let listing = blocking(move || {
            let groups = admin.inner().fetch_group_list(None, REQUEST_TIMEOUT)?;
            let names = groups.groups().iter().map(|group| group.name().to_owned());
            Ok(names.filter(|name| name.starts_with(&start)).collect::<Vec<_>>())
        });
        listing.await.map_err(failed("list groups".to_owned()))
    }

    /// Whether a topic has ever held a record; a missing topic has not.
    pub(super) async fn holds_records(&self, topic: &str) -> Result<bool, SchemaError> {
        let Some((partitions, _)) = self.counts(topic).await? else { return Ok(false) };
        let (admin, topic) = (Arc::clone(&self.admin), topic.to_owned());
        let reading = blocking(move || {
            let mut ends = (0..partitions).map(|n| admin.inner().fetch_watermarks(&topic, n, REQUEST_TIMEOUT));
            ends.try_fold(false, |holds, end| Ok(holds || end?.1 > 0))
        });
        reading.await.map_err(failed("read the ends of a topic".to_owned()))
    }

    /// Deletes groups without members. A missing group is not an error.
    pub(super) async fn delete_groups(&self, groups: &[String]) -> Result<(), SchemaError> {
        if groups.is_empty() {
            return Ok(());
        }
        let group_names: Vec<&str> = groups.iter().map(String::as_str).collect();
        let doing = format!("delete groups {} (is a worker still running?)", group_names.join(", "));
        // A killed worker stays in its group until its session times out.
        self.wait(&doing, SESSION_TIMEOUT, || async {
            let deleted = self.admin.delete_groups(&group_names, &options()).await;
            let deleted = deleted.map_err(failed(doing.clone()))?;
            let busy = |group: &Result<String, (String, RDKafkaErrorCode)>| {
                group.as_ref().is_err_and(|(_, code)| *code == RDKafkaErrorCode::NonEmptyGroup)
            };
            if deleted.iter().any(busy) {
                return Ok(false);
            }
            all_succeeded(deleted, "delete group", RDKafkaErrorCode::GroupIdNotFound).map(|()| true)
        })
        .await
    }

    async fn metadata(&self) -> Result<Metadata, SchemaError> {
        metadata(&self.admin, REQUEST_TIMEOUT, failed(METADATA.to_owned())).await
    }

    async fn wait_for_partitions(&self, name: &str, partitions: i32) -> Result<(), SchemaError> {
        let visible = || async { Ok(self.counts(name).await?.is_some_and(|(count, _)| count >= partitions)) };
        self.wait(&format!("wait for the partitions of topic {name}"), REQUEST_TIMEOUT, visible).await
    }

    async fn wait<F>(&self, doing: &str, within: Duration, done: impl Fn() -> F) -> Result<(), SchemaError>
    where
        F: Future<Output = Result<bool, SchemaError>>,
    {
        let started = Instant::now();
        while !done().await? {
            if started.elapsed() > within {
                return Err(refused(Store::Kafka, doing)("the brokers did not complete it in time"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// Kafka counts in 32 bits.
fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// librdkafka's metadata call blocks, so it runs on a separate thread.
async fn metadata(
    admin: &Arc<AdminClient<DefaultClientContext>>,
    timeout: Duration,
    failed: impl FnOnce(KafkaError) -> SchemaError,
) -> Result<Metadata, SchemaError> {
    let admin = Arc::clone(admin);
    blocking(move || admin.inner().fetch_metadata(None, timeout)).await.map_err(failed)
}
