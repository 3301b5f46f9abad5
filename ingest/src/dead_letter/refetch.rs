//! Reads records again from their topic. If ClickHouse refuses a row, the raw bytes of its record were already freed,
//! but its dead letter needs them; so does a replay of a dead letter that omits the payload. It joins no group and
//! commits no offset.
//!
//! However many records of a range are requested, the range is read once, in bounded memory.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::records::DeadLetter;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use super::compose;
use crate::batch::budget::{Permit, letter_bytes};
use sluice_schemas::concurrency::blocking;

/// How long to wait for the next record.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum concurrent readers; each has a queue of [`QUEUE_KIB`].
const MAX_READERS: usize = 2;
/// Size of a reader's queue, in KiB.
const QUEUE_KIB: &str = "2048";
/// Maximum number of dead letters in a chunk.
const CHUNK_LETTERS: usize = 1024;
/// Size at which a chunk is full, in bytes; its last letter may exceed it.
const CHUNK_BYTES: usize = 1 << 20;

type Client = BaseConsumer<DefaultConsumerContext>;

/// Reads records again.
pub struct RecordReader {
    kafka: ClientConfig,
    /// Clients kept for reuse: a new client must first find the broker.
    idle: Arc<Mutex<Vec<Client>>>,
    slots: Arc<Semaphore>,
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").finish_non_exhaustive()
    }
}

/// Records of a partition that become dead letters.
#[derive(Debug)]
pub struct RefetchRequest {
    /// Topic with its namespace.
    pub topic: Arc<str>,
    /// ID of the topic.
    pub topic_id: Uuid,
    /// Partition of the topic.
    pub partition: i32,
    /// The JSON field (a dotted path) that holds a record's tenant.
    pub tenant_path: String,
    /// Offsets of the records, in order, each with the reason why the record cannot land.
    pub records: Vec<(i64, String)>,
    /// Number of attempts to land the records.
    pub attempts: u32,
}

/// A record that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The payload; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// Several dead letters, in order. Their bytes are charged to the budget until the chunk is dropped.
#[derive(Debug)]
pub struct Chunk {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    permit: Permit,
}

impl Chunk {
    fn new(permit: Permit) -> Self {
        Self { letters: Vec::new(), permit }
    }

    fn push(&mut self, letter: DeadLetter) {
        self.permit.grow(letter_bytes(&letter));
        self.letters.push(letter);
    }

    fn is_full(&self) -> bool {
        self.letters.len() >= CHUNK_LETTERS || self.permit.bytes() >= CHUNK_BYTES
    }
}

impl RecordReader {
    /// Creates a reader without connecting. `group` is never joined, but a broker may require the right to use it.
    pub fn new(mut kafka: ClientConfig, group: &str) -> Self {
        kafka
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // By default, a full queue is not refilled for one second.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.max.messages.kbytes", QUEUE_KIB);
        Self { kafka, idle: Arc::default(), slots: Arc::new(Semaphore::new(MAX_READERS)) }
    }

    /// Reads the records in `request`, which ClickHouse refused, and returns their dead letters in chunks. Each chunk
    /// is charged to a sibling of `permit`. Records that are no longer in their topic are skipped.
    pub fn dead_letters(&self, request: RefetchRequest, permit: &Permit) -> mpsc::Receiver<Result<Chunk, KafkaError>> {
        let (chunks, receiver) = mpsc::channel(1);
        let mut chunk = Chunk::new(permit.sibling());
        let sender = chunks.clone();
        let read = move |client: &Client| {
            let RefetchRequest { topic, topic_id, partition, tenant_path, records, attempts } = request;
            let mut reasons = records.iter();
            let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
            let is_complete = read(client, &topic, partition, &offsets, |message| {
                let reason = reasons.find(|(offset, _)| *offset == message.offset()).map_or("", |(_, reason)| reason);
                let tenant = message.payload().and_then(|payload| compose::tenant_at(payload, &tenant_path));
                chunk.push(compose::from_message(message, topic_id, reason, "write", attempts, tenant));
                if !chunk.is_full() {
                    return true;
                }
                let next = Chunk::new(chunk.permit.sibling());
                sender.blocking_send(Ok(std::mem::replace(&mut chunk, next))).is_ok()
            })?;
            if is_complete && !chunk.letters.is_empty() {
                // The receiver is gone if the assignment has ended.
                drop(sender.blocking_send(Ok(chunk)));
            }
            Ok(())
        };
        let reading = self.with_client(read);
        tokio::spawn(async move {
            if let Err(error) = reading.await {
                drop(chunks.send(Err(error)).await);
            }
        });
        receiver
    }

    /// Reads the record at `offset`; `None` if it is no longer in the topic.
    pub async fn record(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<Record>, KafkaError> {
        let topic = topic.to_owned();
        let read = move |client: &Client| {
            let mut record = None;
            read(client, &topic, partition, &[offset], |message| {
                record = Some(Record { payload: message.payload().map(<[u8]>::to_vec) });
                false
            })?;
            Ok(record)
        };
        self.with_client(read).await
    }

    /// Runs `read` with a client on a blocking thread.
    fn with_client<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Client) -> Result<T, KafkaError> + Send + 'static,
    ) -> impl Future<Output = Result<T, KafkaError>> + Send + 'static {
        let (kafka, idle, slots) = (self.kafka.clone(), Arc::clone(&self.idle), Arc::clone(&self.slots));
        let work = move || {
            let reused = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let client = reused.map_or_else(|| kafka.create(), Ok)?;
            let outcome = read(&client)?;
            client.unassign()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
            Ok(outcome)
        };
        async move {
            let _slot = slots.acquire_owned().await.expect("this semaphore is never closed");
            blocking(work).await
        }
    }
}

/// Passes the records at `offsets` (in order) to `take` until it returns `false`. Returns `true` if `take` accepted all
/// of them. The end of the log, or a log that begins above the first offset, means that all remaining records are
/// missing.
fn read(
    client: &Client,
    topic: &str,
    partition: i32,
    offsets: &[i64],
    mut take: impl FnMut(&BorrowedMessage<'_>) -> bool,
) -> Result<bool, KafkaError> {
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Ok(true) };
    let mut start = TopicPartitionList::with_capacity(1);
    start.add_partition_offset(topic, partition, Offset::Offset(*first))?;
    client.assign(&start)?;
    let mut deadline = Instant::now() + TIMEOUT;
    loop {
        match client.poll(deadline.saturating_duration_since(Instant::now())) {
            Some(Ok(message)) => {
                deadline = Instant::now() + TIMEOUT;
                let offset = message.offset();
                if offsets.binary_search(&offset).is_ok() && !take(&message) {
                    return Ok(false);
                }
                if offset >= *last {
                    return Ok(true);
                }
            }
            // The end of the log, or a log that begins above the first offset: treat all remaining records as missing.
            Some(Err(
                KafkaError::PartitionEOF(_) | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset),
            )) => return Ok(true),
            Some(Err(error)) if Instant::now() >= deadline => return Err(error),
            Some(Err(_)) => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}
