//! Reads a group's offsets in its topics from Kafka: committed offset and metadata, start and end of the log.
//! The operator's commands use it; it commits no offset.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::topic_id::{DescribeError, topic_id};
use super::watermarks;
use super::watermarks::{TopicPartition, Watermarks};
use crate::config::Settings;
use sluice_schemas::concurrency::blocking;

/// Timeout of one request to Kafka.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before an unavailable coordinator is queried again.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(200);

/// The offsets of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The group's committed offset.
    pub committed: Option<i64>,
    /// Metadata of the commit.
    pub metadata: String,
    /// The bounds of the log.
    pub bounds: Watermarks,
}

/// The current state of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOffsets {
    /// ID of the topic.
    pub id: Uuid,
    /// The partitions whose log bounds Kafka reports.
    pub partitions: BTreeMap<i32, PartitionOffsets>,
}

/// A topic, and why some of its partitions are missing.
pub(crate) type PartialOffsets = (TopicOffsets, Vec<Error>);

/// Why the group's offsets cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka does not respond, or refuses.
    #[error("query Kafka about topic {topic}: {cause}; check that it runs, and [stores.kafka] and ingest.kafka")]
    Kafka {
        /// The topic.
        topic: String,
        /// The client's error.
        cause: KafkaError,
    },
    /// Kafka does not report the log bounds of a partition.
    #[error(
        "query Kafka about partition {number} of topic {topic}: {cause}; make sure that the partition has a leader"
    )]
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        number: i32,
        /// The client's error.
        cause: KafkaError,
    },
    /// The topic is missing.
    #[error("find topic {0}: it does not exist; run `sluice schemas apply`, or correct its name")]
    NoTopic(String),
    /// A topic's ID cannot be read.
    #[error(transparent)]
    Describe(#[from] DescribeError),
}

impl Error {
    pub(crate) fn from_kafka(topic: &str, cause: KafkaError) -> Self {
        let topic = topic.to_owned();
        if is_missing(&cause) { Self::NoTopic(topic) } else { Self::Kafka { topic, cause } }
    }
}

/// Whether Kafka reports that the topic does not exist.
pub(crate) fn is_missing(cause: &KafkaError) -> bool {
    matches!(
        cause.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)
    )
}

/// Settings of a client with the workers' group ID that never joins the group.
pub(crate) fn client_config(settings: &Settings, stores: &Stores, names: &Names) -> ClientConfig {
    let mut kafka = settings.client(stores);
    // The instance ID of a static member belongs to a running worker.
    kafka.remove("group.instance.id");
    kafka
        .set("group.id", names.group(&settings.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed");
    kafka
}

/// Reads the offsets of topics (with their namespace); fails if a topic or the bounds of any partition are missing.
pub(crate) async fn read(kafka: ClientConfig, topics: Vec<String>) -> Result<Vec<TopicOffsets>, Error> {
    let all_offsets = read_partially(kafka, topics).await?.into_iter();
    all_offsets.map(|(topic_offsets, missing)| missing.into_iter().next().map_or(Ok(topic_offsets), Err)).collect()
}

/// Like [`read`], but a partition without a leader is reported separately. librdkafka's calls block, so they run on
/// their own thread.
pub(crate) async fn read_partially(kafka: ClientConfig, topics: Vec<String>) -> Result<Vec<PartialOffsets>, Error> {
    blocking(move || {
        let client: BaseConsumer<DefaultConsumerContext> =
            kafka.create().map_err(|cause| Error::from_kafka("", cause))?;
        topics.iter().map(|topic| topic_offsets(&client, topic)).collect()
    })
    .await
}

fn topic_offsets(client: &BaseConsumer<DefaultConsumerContext>, topic: &str) -> Result<PartialOffsets, Error> {
    let kafka_error = |cause| Error::from_kafka(topic, cause);
    let numbers = partitions(client, topic).map_err(kafka_error)?;
    let id = topic_id(client.client(), topic, TIMEOUT)?;
    let requested: Vec<_> = numbers.into_iter().map(|number| (topic.to_owned(), number)).collect();
    let (mut partitions, mut missing) = (BTreeMap::new(), Vec::new());
    for ((_, number), outcome) in read_partitions(client, &requested, TIMEOUT).map_err(kafka_error)? {
        match outcome {
            Ok(partition_offsets) => drop(partitions.insert(number, partition_offsets)),
            Err(cause) => missing.push(Error::Partition { topic: topic.to_owned(), number, cause }),
        }
    }
    Ok((TopicOffsets { id, partitions }, missing))
}

/// Reads the offsets of each of these partitions in a few requests; fails as a whole if the group's coordinator does
/// not respond.
pub(crate) fn read_partitions(
    client: &BaseConsumer<DefaultConsumerContext>,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> KafkaResult<BTreeMap<TopicPartition, KafkaResult<PartitionOffsets>>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    // Read before the log bounds: a committed offset is never above an end that was read later.
    let list = committed(client, &list, timeout)?;
    let mut bounds = watermarks::read(client.client(), partitions, timeout);
    let partition_offsets = |element: &TopicPartitionListElem<'_>| {
        let at = (element.topic().to_owned(), element.partition());
        let bounds = bounds.remove(&at)?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let metadata = element.metadata().to_owned();
        let outcome = element.error().and(bounds).map(|bounds| PartitionOffsets { committed, metadata, bounds });
        Some((at, outcome))
    };
    Ok(list.elements().iter().filter_map(partition_offsets).collect())
}

/// The group's committed offsets. A broker that has just started reports at once that it is still looking for the
/// group's coordinator; the request is then repeated until the timeout.
#[expect(clippy::disallowed_methods, reason = "the error is returned at once, so there is nothing else to wait for")]
pub fn committed(
    client: &BaseConsumer<DefaultConsumerContext>,
    list: &TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<TopicPartitionList> {
    let started = Instant::now();
    loop {
        match client.committed_offsets(list.clone(), timeout) {
            Err(cause) if is_coordinator_unavailable(&cause) && started.elapsed() < timeout => {
                std::thread::sleep(COORDINATOR_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

fn is_coordinator_unavailable(cause: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let unavailable = [CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator];
    cause.rdkafka_error_code().is_some_and(|code| unavailable.contains(&code))
}

/// The partition IDs of a topic.
pub(crate) fn partitions(client: &BaseConsumer<DefaultConsumerContext>, topic: &str) -> KafkaResult<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), TIMEOUT)?;
    if let Some(error) = metadata.topics().iter().find_map(MetadataTopic::error) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect())
}
