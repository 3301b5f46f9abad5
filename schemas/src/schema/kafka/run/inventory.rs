//! The inventory of a run's namespace: records of the marker's topic, `object -> state`. The last record of an object
//! counts; a tombstone removes it. This module never deletes a topic or group.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::concurrency::blocking;
use crate::connect::{self, REQUEST_TIMEOUT};
use crate::error::{SchemaError, refused};
use crate::store::Store;
use crate::stores::Stores;

/// Whether an object is known to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryState {
    /// The object is about to be created.
    Intended,
    /// The object was created.
    Created,
}

impl EntryState {
    /// The stored value. Markers outlive a version of sluice, so it never changes.
    fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Created => "made",
        }
    }

    fn parse(value: &[u8]) -> Self {
        if value == Self::Created.as_str().as_bytes() { Self::Created } else { Self::Intended }
    }
}

/// The records of one marker topic.
pub(super) struct Inventory {
    config: ClientConfig,
    topic: String,
}

impl Inventory {
    pub(super) fn new(stores: &Stores, topic: &str) -> Self {
        Self { config: connect::kafka_config(stores), topic: topic.to_owned() }
    }

    /// Writes the same state for several objects, `None` to remove them, and waits for the acknowledgements.
    pub(super) async fn write(&self, objects: &[String], state: Option<EntryState>) -> Result<(), SchemaError> {
        if objects.is_empty() {
            return Ok(());
        }
        let doing = || format!("write to {}", self.topic);
        let mut config = self.config.clone();
        config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
        let producer: FutureProducer = config.create().map_err(refused(Store::Kafka, doing()))?;
        for object in objects {
            let mut record: FutureRecord<'_, String, str> = FutureRecord::to(&self.topic).key(object).partition(0);
            record.payload = state.map(EntryState::as_str);
            let sent = producer.send(record, Timeout::After(REQUEST_TIMEOUT)).await;
            sent.map_err(|(error, _)| refused(Store::Kafka, doing())(error))?;
        }
        Ok(())
    }

    /// All objects in the inventory.
    pub(super) async fn read(&self) -> Result<BTreeMap<String, EntryState>, SchemaError> {
        let (config, topic) = (self.config.clone(), self.topic.clone());
        let read = blocking(move || read(config, &topic)).await;
        read.map_err(refused(Store::Kafka, format!("read {}", self.topic)))
    }
}

fn read(mut config: ClientConfig, topic: &str) -> Result<BTreeMap<String, EntryState>, KafkaError> {
    // The client requires a group ID; the group is never joined and nothing is committed to it.
    config.set("group.id", topic).set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create()?;
    let mut partition = TopicPartitionList::new();
    partition.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partition)?;
    let (mut objects, mut last) = (BTreeMap::new(), Instant::now());
    loop {
        match consumer.poll(REQUEST_TIMEOUT / 10) {
            Some(Ok(record)) => {
                last = Instant::now();
                let key = record.key().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
                match record.payload() {
                    Some(value) => drop(objects.insert(key, EntryState::parse(value))),
                    None => drop(objects.remove(&key)),
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(objects),
            // The client reconnects; an error that persists is returned at the deadline.
            Some(Err(error)) if last.elapsed() > REQUEST_TIMEOUT => return Err(error),
            None if last.elapsed() > REQUEST_TIMEOUT => {
                return Err(KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::RequestTimedOut));
            }
            Some(Err(_)) | None => {}
        }
    }
}
