//! Reads the dead-letter topic for the account, from its first to its last offset; each identity counts once.
//! It never commits an offset.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::metadata::MetadataTopic;
use sluice_schemas::connect;
use sluice_schemas::names::{Names, topic};
use sluice_schemas::records::{AgentMetric, CommunicationEvent, CustomerInteraction, dead_letter_header};
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::canonical::Canonical;
use super::slice::Kind;

/// Timeout of a request to the broker.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time in which the topic may return nothing before reading it fails.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// A dead letter's identity: topic, partition, offset.
type Place = (String, i32, i64);

/// Everything in the dead-letter topic.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    seen: BTreeSet<Place>,
    /// Identities of records, by kind and tenant.
    records: HashMap<(Kind, Uuid), Vec<String>>,
    /// Offsets of letters without a readable record.
    pub(super) unreadable: Vec<String>,
}

impl DeadLetters {
    /// Identities of the records of one kind, by tenant.
    pub(super) fn identities(&self, kind: Kind) -> BTreeMap<Uuid, Vec<String>> {
        let of_kind = self.records.iter().filter(|((other, _), _)| *other == kind);
        of_kind.map(|((_, tenant), identities)| (*tenant, identities.clone())).collect()
    }

    /// Partition and offset of every letter from a topic.
    pub(super) fn offsets_from(&self, topic: &str) -> HashSet<(i32, i64)> {
        let from_topic = self.seen.iter().filter(|(name, _, _)| name == topic);
        from_topic.map(|(_, partition, offset)| (*partition, *offset)).collect()
    }

    fn add(&mut self, message: &BorrowedMessage<'_>, names: &Names, since: Option<DateTime<Utc>>) {
        let place = place(message);
        if !self.seen.insert(place.clone()) {
            return;
        }
        let read = message.payload().and_then(|payload| read(&place.0, payload, names));
        match read {
            Some(letter) if since.is_some_and(|since| letter.timestamp < since) => {}
            Some(Letter { kind, tenant, identity, .. }) => {
                self.records.entry((kind, tenant)).or_default().push(identity);
            }
            None => self.unreadable.push(format!("{} {} {}", place.0, place.1, place.2)),
        }
    }
}

/// The original place of the record; that of the dead letter itself if its headers don't contain it.
fn place(message: &BorrowedMessage<'_>) -> Place {
    let header = |name: &str| -> Option<&str> {
        let headers = message.headers()?;
        // The record's own headers come first and may have the same names; the last one is the worker's.
        let value = headers.iter().filter(|header| header.key == name).last()?.value?;
        std::str::from_utf8(value).ok()
    };
    let original = || -> Option<Place> {
        let partition = header(dead_letter_header::PARTITION)?.parse().ok()?;
        let offset = header(dead_letter_header::OFFSET)?.parse().ok()?;
        Some((header(dead_letter_header::TOPIC)?.to_owned(), partition, offset))
    };
    original().unwrap_or_else(|| (message.topic().to_owned(), message.partition(), message.offset()))
}

/// The record of a dead letter.
struct Letter {
    kind: Kind,
    tenant: Uuid,
    identity: String,
    timestamp: DateTime<Utc>,
}

fn read(from: &str, payload: &[u8], names: &Names) -> Option<Letter> {
    let letter = |kind, tenant, identity, timestamp| Letter { kind, tenant, identity, timestamp };
    if from == names.topic(topic::COMMUNICATION_EVENTS) {
        let record: CommunicationEvent = serde_json::from_slice(payload).ok()?;
        Some(letter(Kind::Events, record.tenant_id, record.identity(), record.timestamp))
    } else if from == names.topic(topic::AGENT_METRICS) {
        let record: AgentMetric = serde_json::from_slice(payload).ok()?;
        Some(letter(Kind::Metrics, record.tenant_id, record.identity(), record.timestamp))
    } else if from == names.topic(topic::CUSTOMER_INTERACTIONS) {
        let record: CustomerInteraction = serde_json::from_slice(payload).ok()?;
        Some(letter(Kind::Interactions, record.tenant_id, record.identity(), record.timestamp))
    } else {
        None
    }
}

/// A consumer without committed offsets.
pub(super) fn reader(stores: &Stores, names: &Names) -> Result<BaseConsumer, KafkaError> {
    connect::kafka_config(stores)
        .set("group.id", names.group("sluice-account"))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
}

/// Number of records in all partitions of a topic, by their watermarks. Blocks the thread.
pub(super) fn record_count(reader: &BaseConsumer, topic: &str) -> Result<u64, KafkaError> {
    let marks = watermarks(reader, topic)?;
    Ok(marks.iter().map(|(_, low, high)| (high - low).unsigned_abs()).sum())
}

/// Number, low and high watermark of each partition of a topic. Blocks the thread.
pub(super) fn watermarks(reader: &BaseConsumer, topic: &str) -> Result<Vec<(i32, i64, i64)>, KafkaError> {
    let metadata = reader.fetch_metadata(Some(topic), RESPONSE_TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    partitions
        .map(|partition| {
            let (low, high) = reader.fetch_watermarks(topic, partition.id(), RESPONSE_TIMEOUT)?;
            Ok((partition.id(), low, high))
        })
        .collect()
}

/// Reads the whole dead-letter topic; without the records of earlier trials than the one that starts at `since`. Blocks the
/// thread.
pub(super) fn read_all(
    reader: &BaseConsumer,
    names: &Names,
    since: Option<DateTime<Utc>>,
) -> Result<DeadLetters, KafkaError> {
    let name = names.topic(topic::CLICKHOUSE_ERRORS);
    let non_empty: Vec<_> = watermarks(reader, &name)?.into_iter().filter(|(_, low, high)| low < high).collect();
    let mut assignment = TopicPartitionList::new();
    for (partition, low, _) in &non_empty {
        assignment.add_partition_offset(&name, *partition, Offset::Offset(*low))?;
    }
    reader.assign(&assignment)?;
    let mut letters = DeadLetters::default();
    // A record that is appended meanwhile is read with its partition, or later: the end of a partition counts once.
    let mut remaining: BTreeSet<i32> = non_empty.iter().map(|(partition, ..)| *partition).collect();
    let (mut last_message, mut last_error) = (Instant::now(), None);
    while !remaining.is_empty() && last_message.elapsed() < IDLE_LIMIT {
        match reader.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                letters.add(&message, names, since);
                last_message = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(remaining.remove(&partition)),
            // The client also reports a broker that it can't reach, and goes on with the others.
            Some(Err(error)) => last_error = Some(error),
            None => {}
        }
    }
    reader.unassign()?;
    if remaining.is_empty() {
        Ok(letters)
    } else {
        Err(last_error.unwrap_or(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)))
    }
}
