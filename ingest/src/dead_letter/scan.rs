//! Reads the dead-letter topic from its start, or from a given time, to its end.
//! It yields each identity once, one partition after another, in log order. A letter is in the topic twice if a worker
//! died between its acknowledgement and the commit, so that the next owner sent it again; the first one counts. It
//! holds a few letters in memory at a time, and the offset (about 16 bytes) of every letter that the filter selects. It
//! commits no offset.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::records::dead_letter_header as header;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::letter::{Contents, Letter, Position, Raw, Source};
use crate::kafka::fetch::{self, FetchSource};
use crate::kafka::headers;
use crate::kafka::headers::Headers;
use crate::kafka::offsets;
use crate::kafka::offsets::TIMEOUT;
use crate::kafka::topic_id::DescribeError;

/// Why the dead-letter topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Kafka does not respond, or refuses.
    #[error("read {} from Kafka: {cause}; check that it runs, and [stores.kafka] and ingest.kafka", describe(.topic))]
    Kafka {
        /// The topic.
        topic: String,
        /// The client's error.
        cause: KafkaError,
    },
    /// The topic is missing.
    #[error("read topic {0}: it does not exist; run `sluice schemas apply`, or correct ingest.dead_letter_topic")]
    NoTopic(String),
    /// A topic's ID cannot be read.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// A thread cannot be started or has panicked.
    #[error("run the thread that reads dead letters: {0}")]
    Thread(String),
}

fn describe(topic: &str) -> String {
    if topic.is_empty() { "topics".to_owned() } else { format!("topic {topic}") }
}

impl ScanError {
    pub(crate) fn from_kafka(topic: &str, cause: KafkaError) -> Self {
        let topic = topic.to_owned();
        if offsets::is_missing(&cause) { Self::NoTopic(topic) } else { Self::Kafka { topic, cause } }
    }
}

/// Number of letters that are read ahead of the receiver.
const READ_AHEAD: usize = 16;
/// Poll interval, after which the reader checks whether the receiver still exists.
const TICK: Duration = Duration::from_millis(100);

/// Maximum bytes fetched but not processed.
const FETCH_BYTES: u64 = 8 << 20;

/// How much of a letter's record to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Only the facts about the record.
    Facts,
    /// The facts and the payload.
    Payload,
    /// The facts, key, payload and headers.
    All,
}

/// Selects letters by source and offset.
pub(crate) type LetterFilter = Box<dyn Fn(&Source, i64) -> bool + Send>;

/// What to read.
pub(crate) struct ScanOptions {
    /// The dead-letter topic.
    pub(crate) topic: String,
    /// Start time; `None` reads the whole topic.
    pub(crate) since_ms: Option<i64>,
    /// What to keep of each letter.
    pub(crate) keep: Detail,
    /// Selects the letters; `None` selects all. Unselected letters are skipped silently.
    pub(crate) only: Option<LetterFilter>,
    /// Topic IDs assumed for letters that do not state one, by topic.
    pub(crate) assumed: HashMap<String, Uuid>,
}

/// A record of the topic.
#[derive(Debug)]
pub(crate) enum Item {
    /// A dead letter.
    Letter(Letter),
    /// A dead letter whose identity was read before.
    Duplicate,
    /// A record that no worker wrote.
    Foreign,
    /// The end of the topic.
    End,
}

/// A scan in progress.
#[derive(Debug)]
pub(crate) struct Scan(mpsc::Receiver<Result<Item, ScanError>>);

impl Scan {
    /// Starts reading on a dedicated thread, which ends when the scan is dropped.
    pub(crate) fn start(kafka: ClientConfig, options: ScanOptions) -> Result<Self, ScanError> {
        let (out, letters) = mpsc::channel(READ_AHEAD);
        let read = move || {
            let topic = options.topic.clone();
            let mut reader = Reader { options, identities: Identities::default(), out };
            let end = reader.read(kafka).map_err(|cause| ScanError::from_kafka(&topic, cause));
            // The receiver may have been dropped.
            drop(reader.out.blocking_send(end.map(|()| Item::End)));
        };
        thread::Builder::new()
            .name("dead-letters".to_owned())
            .spawn(read)
            .map_err(|error| ScanError::Thread(error.to_string()))?;
        Ok(Self(letters))
    }

    /// The next item. A thread that panicked is an error, never the end.
    pub(crate) async fn next(&mut self) -> Result<Item, ScanError> {
        self.0.recv().await.unwrap_or_else(|| Err(ScanError::Thread("it panicked".to_owned())))
    }
}

/// The identities read so far.
#[derive(Debug, Default)]
struct Identities(HashMap<Source, (Arc<Source>, HashSet<i64>)>);

impl Identities {
    /// Whether this identity is new. Letters of one source share its `Arc`.
    fn is_new(&mut self, letter: &mut Letter) -> bool {
        if let Some((source, offsets)) = self.0.get_mut(&*letter.source) {
            letter.source = Arc::clone(source);
            return offsets.insert(letter.offset);
        }
        let source = Arc::clone(&letter.source);
        self.0.insert(Source::clone(&source), (source, HashSet::from([letter.offset])));
        true
    }
}

struct Reader {
    options: ScanOptions,
    identities: Identities,
    out: mpsc::Sender<Result<Item, ScanError>>,
}

impl Reader {
    fn read(&mut self, mut kafka: ClientConfig) -> KafkaResult<()> {
        kafka
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed");
        // One partition at a time, and thus one broker.
        fetch::bound(&mut kafka, FETCH_BYTES, FetchSource { brokers: 1, largest_batch: None });
        let consumer: BaseConsumer<DefaultConsumerContext> = kafka.create()?;
        for (start, end) in self.spans(&consumer)? {
            if !self.read_partition(&consumer, start, end)? {
                break;
            }
        }
        Ok(())
    }

    /// The start and end of each partition that contains records.
    fn spans(&self, consumer: &BaseConsumer<DefaultConsumerContext>) -> KafkaResult<Vec<(Position, i64)>> {
        let topic = &self.options.topic;
        let mut partitions = offsets::partitions(consumer, topic)?;
        partitions.sort_unstable();
        let starts = self.starts(consumer, &partitions)?;
        let mut spans = Vec::new();
        for partition in partitions {
            let (low, high) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
            let offset = starts.get(&partition).map_or(low, |start| start.unwrap_or(high).max(low));
            if offset < high {
                spans.push((Position { partition, offset }, high));
            }
        }
        Ok(spans)
    }

    /// The first offset at or after the start time, by partition; `None` if there is no such record.
    fn starts(
        &self,
        consumer: &BaseConsumer<DefaultConsumerContext>,
        partitions: &[i32],
    ) -> KafkaResult<HashMap<i32, Option<i64>>> {
        let Some(since) = self.options.since_ms else { return Ok(HashMap::new()) };
        let mut times = TopicPartitionList::new();
        for partition in partitions {
            times.add_partition_offset(&self.options.topic, *partition, Offset::Offset(since))?;
        }
        let offsets = consumer.offsets_for_times(times, TIMEOUT)?;
        let start = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        Ok(offsets.elements().iter().map(|element| (element.partition(), start(element.offset()))).collect())
    }

    /// Reads a partition up to, not including, `end`. Returns whether the receiver still exists.
    fn read_partition(
        &mut self,
        consumer: &BaseConsumer<DefaultConsumerContext>,
        from: Position,
        end: i64,
    ) -> KafkaResult<bool> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&self.options.topic, from.partition, Offset::Offset(from.offset))?;
        consumer.assign(&list)?;
        let mut last_response = Instant::now();
        while !self.out.is_closed() {
            match consumer.poll(TICK) {
                Some(Ok(message)) if message.partition() == from.partition => {
                    last_response = Instant::now();
                    if message.offset() < end && !self.emit(&message) {
                        return Ok(false);
                    }
                    if message.offset() + 1 >= end {
                        return Ok(true);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) if partition == from.partition => return Ok(true),
                Some(Err(error)) if last_response.elapsed() > TIMEOUT => return Err(error),
                None if last_response.elapsed() > TIMEOUT => {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
                // librdkafka retries after an error.
                Some(_) | None => {}
            }
        }
        Ok(false)
    }

    fn emit(&mut self, message: &BorrowedMessage<'_>) -> bool {
        let Some(item) = self.classify(message) else { return true };
        self.out.blocking_send(Ok(item)).is_ok()
    }

    /// Classifies a record; `None` for a letter that is not selected.
    fn classify(&mut self, message: &BorrowedMessage<'_>) -> Option<Item> {
        let raw = Raw {
            position: Position { partition: message.partition(), offset: message.offset() },
            at_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: None,
            payload: message.payload(),
            headers: headers::from_last(message, header::REASON),
        };
        let Some(mut letter) = Letter::read(raw, false) else { return Some(Item::Foreign) };
        if self.options.only.as_ref().is_some_and(|only| !only(&letter.source, letter.offset)) {
            return None;
        }
        if letter.source.topic_id.is_none()
            && let Some(id) = self.options.assumed.get(&letter.source.topic)
        {
            Arc::make_mut(&mut letter.source).topic_id = Some(*id);
        }
        if !self.identities.is_new(&mut letter) {
            return Some(Item::Duplicate);
        }
        letter.contents = contents(message, self.options.keep);
        Some(Item::Letter(letter))
    }
}

fn contents(message: &BorrowedMessage<'_>, keep: Detail) -> Option<Contents> {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    match keep {
        Detail::Facts => None,
        Detail::Payload => Some(Contents { key: None, payload: owned(message.payload()), headers: Headers::new() }),
        Detail::All => Some(Contents {
            key: owned(message.key()),
            payload: owned(message.payload()),
            headers: headers::all(message),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[test]
    fn an_identity_is_topic_id_partition_and_offset() {
        let mut identities = Identities::default();
        let mut is_new = |changes: &[(&str, &str)]| identities.is_new(&mut letter(changes).unwrap());
        assert!(is_new(&[]));
        assert!(!is_new(&[]), "the same identity");
        assert!(!is_new(&[(header::REASON, "invalid_json")]), "the reason is not part of it");
        assert!(is_new(&[(header::OFFSET, "18")]));
        assert!(is_new(&[(header::PARTITION, "4")]));
        assert!(is_new(&[(header::TOPIC, "other")]));
        assert!(is_new(&[(header::TOPIC_ID, "00000000-0000-0000-0000-000000000008")]), "the topic was recreated");
        assert!(is_new(&[(header::TOPIC_ID, "")]));
    }

    #[test]
    fn letters_of_one_source_share_it() {
        let mut identities = Identities::default();
        let (mut first, mut second) = (letter(&[]).unwrap(), letter(&[(header::OFFSET, "18")]).unwrap());
        assert!(identities.is_new(&mut first) && identities.is_new(&mut second));
        assert!(Arc::ptr_eq(&first.source, &second.source));
    }
}
