//! The current state of the topics that dead letters come from: the ID of each topic, and the workers' committed
//! offsets. It commits no offset.

use std::collections::HashMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use uuid::Uuid;

use crate::dead_letter::letter::Letter;
use crate::dead_letter::scan::ScanError;
use crate::kafka::offsets;
use crate::kafka::offsets::TIMEOUT;
use crate::kafka::topic_id::topic_id;
use sluice_schemas::concurrency::blocking;

/// The existing topics, by name.
#[derive(Debug, Default)]
pub(super) struct Topics(HashMap<String, Topic>);

/// The current state of a topic.
#[derive(Debug)]
struct Topic {
    id: Uuid,
    /// The workers' committed offsets, by partition.
    committed: HashMap<i32, i64>,
}

impl Topics {
    /// Reads the topics called `names`; `kafka` has the workers' group ID.
    pub(super) async fn read(kafka: ClientConfig, names: Vec<String>) -> Result<Self, ScanError> {
        let read = move || {
            let client: BaseConsumer<DefaultConsumerContext> =
                kafka.create().map_err(|cause| ScanError::from_kafka("", cause))?;
            let mut topics = HashMap::new();
            for name in names {
                if let Some(topic) = topic(&client, &name)? {
                    topics.insert(name, topic);
                }
            }
            Ok(Self(topics))
        };
        blocking(read).await
    }

    /// ID of the topic of that name.
    pub(super) fn id(&self, name: &str) -> Option<Uuid> {
        self.0.get(name).map(|topic| topic.id)
    }

    /// IDs of all topics.
    pub(super) fn ids(&self) -> HashMap<String, Uuid> {
        self.0.iter().map(|(name, topic)| (name.clone(), topic.id)).collect()
    }

    /// Whether the topic that a letter came from still exists, judging by its name and ID.
    pub(super) fn is_current(&self, letter: &Letter) -> bool {
        letter.source.topic_id.is_some_and(|id| self.id(&letter.source.topic) == Some(id))
    }

    /// Whether the workers have committed past a letter's record. If not, they will consume it again. A deleted topic
    /// counts as committed, since the workers consume nothing from it.
    pub(super) fn is_committed(&self, letter: &Letter) -> bool {
        let committed = || self.0.get(&letter.source.topic)?.committed.get(&letter.source.partition).copied();
        !self.is_current(letter) || committed().is_some_and(|committed| letter.offset < committed)
    }
}

/// The state of a topic; `None` if it does not exist.
fn topic(client: &BaseConsumer<DefaultConsumerContext>, name: &str) -> Result<Option<Topic>, ScanError> {
    let kafka_error = |cause| ScanError::from_kafka(name, cause);
    let partitions = match offsets::partitions(client, name) {
        Err(cause) if offsets::is_missing(&cause) => return Ok(None),
        Ok(partitions) if partitions.is_empty() => return Ok(None),
        partitions => partitions.map_err(kafka_error)?,
    };
    let id = topic_id(client.client(), name, TIMEOUT)?;
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(name, partition);
    }
    let list = offsets::committed(client, &list, TIMEOUT).map_err(kafka_error)?;
    let offset = |offset: Offset| offset.to_raw().filter(|offset| *offset >= 0);
    let elements = list.elements();
    let committed =
        elements.iter().filter_map(|element| Some((element.partition(), offset(element.offset())?))).collect();
    Ok(Some(Topic { id, committed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::letter::tests::letter;
    use sluice_schemas::records::dead_letter_header as header;

    #[test]
    fn only_records_below_the_committed_offset_are_committed() {
        // The letters' records are of `ns.events` with ID 7, partition 3, offset 17.
        let topics = |id, committed: &[(i32, i64)]| {
            let topic = Topic { id: Uuid::from_u128(id), committed: committed.iter().copied().collect() };
            Topics(HashMap::from([("ns.events".to_owned(), topic)]))
        };
        let usual = letter(&[]).unwrap();
        assert!(topics(7, &[(3, 18)]).is_committed(&usual));
        assert!(!topics(7, &[(3, 17)]).is_committed(&usual), "the next record that they consume");
        assert!(!topics(7, &[(2, 18)]).is_committed(&usual), "nothing was ever committed");
        assert!(topics(8, &[(3, 1)]).is_committed(&usual), "the topic was recreated");
        assert!(Topics::default().is_committed(&usual), "the topic is gone");
        let without_id = letter(&[(header::TOPIC_ID, "")]).unwrap();
        assert!(!topics(7, &[]).is_current(&without_id));
    }
}
