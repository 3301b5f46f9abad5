//! `offsets skip`: skips records that Kafka's client cannot read, with a dead letter for each.
//! It refuses a record that can be read.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use sluice_schemas::concurrency::blocking;
use sluice_schemas::records::{DeadLetter, HeadersLeftOut};
use uuid::Uuid;

use super::change::{Change, change};
use super::error::Error;
use super::group::Offsets;
use crate::dead_letter::producer::DeadLetters;
use crate::failure::Class;
use crate::kafka::fetch::{self, FetchSource};
use crate::kafka::offsets;
use crate::kafka::topic_config;
use crate::kafka::unreadable::{Next, Probe};

/// Reason of a dead letter whose record is unreadable.
pub const UNREADABLE: &str = "unreadable";
/// Number of dead letters that are sent together.
const LETTERS_PER_SEND: usize = 1000;
/// Size of the producer's queue, in KiB.
const QUEUE_KIB: u64 = 4096;

/// A skip of unreadable records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The change to be committed.
    pub change: Change,
    /// Offset of the first skipped record; all records up to the new offset are skipped.
    pub from: i64,
    topic_id: Uuid,
}

impl Skip {
    fn letter(&self, offset: i64) -> DeadLetter {
        DeadLetter {
            key: None,
            payload: None,
            headers: Vec::new(),
            headers_left_out: Some(HeadersLeftOut::Unreadable),
            reason: UNREADABLE.to_owned(),
            stage: "consume".to_owned(),
            error_class: Class::Row.as_str().to_owned(),
            topic: self.change.topic.clone(),
            topic_id: self.topic_id,
            partition: self.change.partition,
            offset,
            timestamp_ms: None,
            attempts: 1,
            tenant_id: None,
        }
    }
}

impl Offsets {
    /// Returns the skip of the unreadable records at `offset`.
    pub async fn skip(&self, topic: &str, partition: i32, offset: i64) -> Result<Skip, Error> {
        self.table(topic)?;
        let (topic_offsets, partition_offsets) = self.partition_offsets(topic, partition).await?;
        let next = partition_offsets.committed.unwrap_or(partition_offsets.bounds.low);
        if next != offset {
            return Err(Error::NotNext { offset, committed: partition_offsets.committed });
        }
        let kafka = self.reader_config(topic).await;
        let (name, high) = (topic.to_owned(), partition_offsets.bounds.high);
        let end = blocking(move || {
            let find_end = || {
                let probe = Probe::new(kafka)?;
                match probe.next(&name, partition, offset)? {
                    Next::Readable => Ok(None),
                    Next::Unreadable { .. } => probe.end(&name, partition, offset, high).map(Some),
                }
            };
            find_end().map_err(|cause| offsets::Error::from_kafka(&name, cause))
        })
        .await?;
        let to = end.ok_or(Error::Readable(offset))?;
        Ok(Skip {
            change: change(topic, partition, &partition_offsets, to, String::new())?,
            topic_id: topic_offsets.id,
            from: offset,
        })
    }

    /// Sends a dead letter for each skipped offset, then commits.
    pub async fn commit_skip(&self, skip: &Skip) -> Result<(), Error> {
        let kafka = self.settings.client(&self.stores);
        let topic = self.names.topic(&self.settings.dead_letter_topic);
        let failed = |cause: KafkaError| offsets::Error::from_kafka(&topic, cause);
        let letters = DeadLetters::new(kafka, &topic, QUEUE_KIB).map_err(failed)?;
        let offsets: Vec<_> = (skip.from..skip.change.to).collect();
        for chunk in offsets.chunks(LETTERS_PER_SEND) {
            let chunk: Vec<_> = chunk.iter().map(|offset| skip.letter(*offset)).collect();
            letters.send(&chunk).await.map_err(Error::Letters)?;
        }
        self.commit(&skip.change).await
    }

    /// Returns a client configuration that reads a topic with the limits of a worker.
    async fn reader_config(&self, topic: &str) -> ClientConfig {
        let mut kafka = self.kafka();
        let largest_batch = topic_config::largest_batch(&kafka, &[topic.to_owned()]).await;
        fetch::bound(&mut kafka, self.settings.queue_bytes(), FetchSource { brokers: 1, largest_batch });
        kafka
    }
}
