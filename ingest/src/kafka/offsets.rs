//! Where a group stands in its topics, as Kafka says it: committed offset and the text beside it, start and end of the
//! log. Names of topics go in; what there is of each comes out. What an operator's verbs begin with; commits nothing.

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

/// How long Kafka may take for one answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Before a coordinator that is not there yet is asked for again.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(200);

/// What Kafka says about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// Offset that the group committed.
    pub committed: Option<i64>,
    /// Text beside it.
    pub metadata: String,
    /// Where the log begins and ends.
    pub ends: Watermarks,
}

/// A topic as it is today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOffsets {
    /// Its identity.
    pub id: Uuid,
    /// Its partitions of which Kafka says where they begin and end.
    pub partitions: BTreeMap<i32, PartitionOffsets>,
}

/// A topic, and why some of its partitions are missing in what is said of it.
pub(crate) type PartialAnswer = (TopicOffsets, Vec<Error>);

/// Kafka does not say where the group stands.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka does not answer, or refuses.
    #[error("ask Kafka about topic {topic}: {cause}; check that it runs, and [stores.kafka] and ingest.kafka")]
    Kafka {
        /// The topic.
        topic: String,
        /// What its client said.
        cause: KafkaError,
    },
    /// Kafka does not say where a partition's log begins and ends.
    #[error("ask Kafka about partition {number} of topic {topic}: {cause}; see to it that the partition has a leader")]
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        number: i32,
        /// What the client said.
        cause: KafkaError,
    },
    /// The topic is missing.
    #[error("find topic {0}: it does not exist; run `sluice schemas apply`, or correct its name")]
    NoTopic(String),
    /// A topic does not say who it is.
    #[error(transparent)]
    Describe(#[from] DescribeError),
}

impl Error {
    pub(crate) fn from_kafka(topic: &str, cause: KafkaError) -> Self {
        let topic = topic.to_owned();
        if is_missing(&cause) { Self::NoTopic(topic) } else { Self::Kafka { topic, cause } }
    }
}

/// Whether Kafka says that there is no such topic.
pub(crate) fn is_missing(cause: &KafkaError) -> bool {
    matches!(
        cause.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)
    )
}

/// Settings of a client in the workers' group that never joins it.
pub(crate) fn client_config(settings: &Settings, stores: &Stores, names: &Names) -> ClientConfig {
    let mut kafka = settings.client(stores);
    // A static member's name is a running worker's own.
    kafka.remove("group.instance.id");
    kafka
        .set("group.id", names.group(&settings.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed");
    kafka
}

/// Asks about topics (with their namespace), each of which has to exist, and each of their partitions to answer.
pub(crate) async fn ask(kafka: ClientConfig, topics: Vec<String>) -> Result<Vec<TopicOffsets>, Error> {
    let all_offsets = ask_partially(kafka, topics).await?.into_iter();
    all_offsets.map(|(topic_offsets, missing)| missing.into_iter().next().map_or(Ok(topic_offsets), Err)).collect()
}

/// The same where a partition may have no leader. librdkafka's calls block, so they get a thread.
pub(crate) async fn ask_partially(kafka: ClientConfig, topics: Vec<String>) -> Result<Vec<PartialAnswer>, Error> {
    blocking(move || {
        let client: BaseConsumer<DefaultConsumerContext> =
            kafka.create().map_err(|cause| Error::from_kafka("", cause))?;
        topics.iter().map(|topic| topic_offsets(&client, topic)).collect()
    })
    .await
}

fn topic_offsets(client: &BaseConsumer<DefaultConsumerContext>, topic: &str) -> Result<PartialAnswer, Error> {
    let of_kafka = |cause| Error::from_kafka(topic, cause);
    let numbers = partitions(client, topic).map_err(of_kafka)?;
    let id = topic_id(client.client(), topic, PATIENCE)?;
    let asked: Vec<_> = numbers.into_iter().map(|number| (topic.to_owned(), number)).collect();
    let (mut partitions, mut missing) = (BTreeMap::new(), Vec::new());
    for ((_, number), found) in found(client, &asked, PATIENCE).map_err(of_kafka)? {
        match found {
            Ok(found) => drop(partitions.insert(number, found)),
            Err(cause) => missing.push(Error::Partition { topic: topic.to_owned(), number, cause }),
        }
    }
    Ok((TopicOffsets { id, partitions }, missing))
}

/// What Kafka says about each of these partitions, in a few questions for all of them; fails as a whole where the group's
/// coordinator does not answer.
pub(crate) fn found(
    client: &BaseConsumer<DefaultConsumerContext>,
    partitions: &[TopicPartition],
    patience: Duration,
) -> KafkaResult<BTreeMap<TopicPartition, KafkaResult<PartitionOffsets>>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    // Before the log's ends: what is committed is never above an end that was asked for later.
    let answer = committed(client, &list, patience)?;
    let mut ends = watermarks::ask(client.client(), partitions, patience);
    let of_element = |element: &TopicPartitionListElem<'_>| {
        let at = (element.topic().to_owned(), element.partition());
        let ends = ends.remove(&at)?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let metadata = element.metadata().to_owned();
        let found = element.error().and(ends).map(|ends| PartitionOffsets { committed, metadata, ends });
        Some((at, found))
    };
    Ok(answer.elements().iter().filter_map(of_element).collect())
}

/// The group's committed offsets. A broker that has just started looks for the group's coordinator, and says so at once; it
/// is asked again while the time lasts.
#[expect(clippy::disallowed_methods, reason = "the answer comes at once, so there is nothing to wait for in between")]
pub fn committed(
    client: &BaseConsumer<DefaultConsumerContext>,
    list: &TopicPartitionList,
    patience: Duration,
) -> KafkaResult<TopicPartitionList> {
    let asked = Instant::now();
    loop {
        match client.committed_offsets(list.clone(), patience) {
            Err(cause) if is_coordinator_away(&cause) && asked.elapsed() < patience => {
                std::thread::sleep(COORDINATOR_PAUSE);
            }
            answer => return answer,
        }
    }
}

fn is_coordinator_away(cause: &KafkaError) -> bool {
    use RDKafkaErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
    let away = [CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator];
    cause.rdkafka_error_code().is_some_and(|code| away.contains(&code))
}

/// The numbers of a topic's partitions.
pub(crate) fn partitions(client: &BaseConsumer<DefaultConsumerContext>, topic: &str) -> KafkaResult<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), PATIENCE)?;
    if let Some(error) = metadata.topics().iter().find_map(MetadataTopic::error) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    Ok(metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect())
}
