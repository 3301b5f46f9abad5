//! Reads records again: rows that only ClickHouse refuses were encoded and their raw bytes freed, but their dead
//! letters need them; so does a replay of a dead letter without its payload. A topic, a partition and offsets go in;
//! dead letters or a payload come out. It joins no group and commits nothing.
//!
//! However many records of a range are requested, the range is read once, and the memory held at a time is bounded.

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
/// Maximum size of a chunk of dead letters, in letters and bytes; the last letter may exceed the bytes.
const CHUNK: (usize, usize) = (1024, 1 << 20);

type Client = BaseConsumer<DefaultConsumerContext>;

/// Reads records again.
pub struct Refetch {
    kafka: ClientConfig,
    /// Clients kept for reuse: the next read may follow soon, and a new client must first find the broker.
    idle: Arc<Mutex<Vec<Client>>>,
    slots: Arc<Semaphore>,
}

impl fmt::Debug for Refetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refetch").finish_non_exhaustive()
    }
}

/// Records of a partition that become dead letters.
#[derive(Debug)]
pub struct RefetchRequest {
    /// Topic with its namespace.
    pub topic: Arc<str>,
    /// ID of the topic.
    pub topic_id: Uuid,
    /// Its partition.
    pub partition: i32,
    /// The JSON field (a dotted path) with a record's tenant.
    pub tenant: String,
    /// Their offsets, in order, each with the reason why it cannot land.
    pub records: Vec<(i64, String)>,
    /// Number of attempts to land them.
    pub attempts: u32,
}

/// A record that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its payload; a tombstone has none.
    pub payload: Option<Vec<u8>>,
}

/// Several dead letters, in order. Their bytes are charged to the budget until it is dropped.
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
        self.letters.len() >= CHUNK.0 || self.permit.bytes() >= CHUNK.1
    }
}

impl Refetch {
    /// Opens no connection yet. `group` is never joined, but a broker may require the right to use it.
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

    /// The dead letters of records that ClickHouse refused, in chunks that are charged to permits like `permit`.
    /// Records that are no longer in their topic are left out.
    pub fn dead_letters(&self, request: RefetchRequest, permit: &Permit) -> mpsc::Receiver<Result<Chunk, KafkaError>> {
        let (chunks, receiver) = mpsc::channel(1);
        let mut chunk = Chunk::new(permit.sibling());
        let sender = chunks.clone();
        let read = move |client: &Client| {
            let RefetchRequest { topic, topic_id, partition, tenant: path, records, attempts } = request;
            let mut reasons = records.iter();
            let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
            let is_complete = read(client, &topic, partition, &offsets, |message| {
                let reason = reasons.find(|(offset, _)| *offset == message.offset()).map_or("", |(_, reason)| reason);
                let tenant = message.payload().and_then(|payload| compose::tenant_at(payload, &path));
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

    /// The record at `offset`, unless it is no longer in the topic.
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

    /// Runs `read` with a client, on a thread that may block.
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

/// Passes the remaining records at `offsets` (in order) to `take` until it returns `false`. Returns whether it never
/// did.
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
            // The end of the log, or a log that begins above the first offset: the remaining records are gone.
            Some(Err(
                KafkaError::PartitionEOF(_) | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset),
            )) => return Ok(true),
            Some(Err(error)) if Instant::now() >= deadline => return Err(error),
            Some(Err(_)) => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}
