//! Finds records that Kafka's client cannot read: it reports a batch that it cannot decompress or parse without naming
//! the partition, fetches it again forever, and delivers nothing after it.
//! It commits no offset.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long to wait for the next record of a partition.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether an error may be caused by an unreadable batch.
pub fn is_suspicious(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BadCompression
                | Code::BadMessage
                | Code::InvalidMessage
                | Code::MessageSizeTooLarge
                | Code::NotImplemented
                | Code::Underflow
        )
    )
}

/// What comes next in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A readable record, the end of the log, or nothing that Kafka delivers in time.
    Readable,
    /// The records from this offset on are unreadable.
    Unreadable {
        /// The first unreadable offset.
        offset: i64,
    },
}

/// Probes one partition at a time.
pub struct Probe(BaseConsumer<ErrorListener>);

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// Listens for connection errors: a response that is too large breaks a connection and is not reported as a partition's
/// error.
#[derive(Debug, Default)]
struct ErrorListener {
    is_too_large: AtomicBool,
}

impl ClientContext for ErrorListener {
    fn error(&self, _: KafkaError, reason: &str) {
        if reason.contains("receive.message.max.bytes") {
            self.is_too_large.store(true, Ordering::Relaxed);
        }
    }
}

impl ConsumerContext for ErrorListener {}

impl Probe {
    /// Creates a probe without connecting. `kafka` has the limits of the consumer that is stuck.
    pub fn new(mut kafka: ClientConfig) -> KafkaResult<Self> {
        kafka.remove("group.instance.id");
        kafka
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed");
        Ok(Self(kafka.create_with_context(ErrorListener::default())?))
    }

    /// Reads a partition from `offset` up to the first delivered record or the first unreadable one.
    pub fn next(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<Next> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        self.0.context().is_too_large.store(false, Ordering::Relaxed);
        self.0.assign(&list)?;
        let deadline = Instant::now() + TIMEOUT;
        let next = loop {
            match self.0.poll(deadline.saturating_duration_since(Instant::now())) {
                Some(Err(error)) if is_suspicious(&error) => break Next::Unreadable { offset },
                Some(Err(_)) if self.0.context().is_too_large.load(Ordering::Relaxed) => {
                    break Next::Unreadable { offset };
                }
                Some(Ok(message)) if message.partition() == partition && message.offset() >= offset => {
                    break Next::Readable;
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => break Next::Readable,
                Some(_) if Instant::now() < deadline => {}
                Some(_) | None => break Next::Readable,
            }
        };
        self.0.unassign()?;
        Ok(next)
    }

    /// Returns the first offset after `offset` and below `end` from which reading can continue; `end` if there is none.
    /// An unreadable batch is unreadable from each of its offsets.
    pub fn end(&self, topic: &str, partition: i32, offset: i64, end: i64) -> KafkaResult<i64> {
        let is_unreadable = |at| Ok::<_, KafkaError>(self.next(topic, partition, at)? != Next::Readable);
        let (mut bad, mut step) = (offset, 1);
        let mut good = loop {
            let at = bad.saturating_add(step).min(end);
            if at >= end || !is_unreadable(at)? {
                break at;
            }
            (bad, step) = (at, step * 2);
        };
        while good - bad > 1 {
            let middle = bad + (good - bad) / 2;
            if is_unreadable(middle)? { bad = middle } else { good = middle }
        }
        Ok(good)
    }
}
