//! Reading records again: rows that only ClickHouse refuses were encoded and their raw bytes freed, and dead letters need
//! them, as does a replay of a dead letter that had to leave its payload out. A topic, a partition and offsets go in, the
//! records' dead letters or a payload come out. It belongs to no group and commits nothing.
//!
//! However many records of a range are wanted, the range is read once, and what is kept of it at a time is bounded.

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

/// How long Kafka may take for the next record.
const PATIENCE: Duration = Duration::from_secs(30);
/// Readers at the same time; each has a queue of [`QUEUE_KIB`].
const AT_ONCE: usize = 2;
/// What a reader's queue holds, in KiB.
const QUEUE_KIB: &str = "2048";
/// Dead letters that are handed over together, by number and by bytes; the last one may exceed the bytes.
const CHUNK: (usize, usize) = (1024, 1 << 20);

type Client = BaseConsumer<DefaultConsumerContext>;

/// Reads records again.
pub struct Refetch {
    kafka: ClientConfig,
    /// Clients that have read before: the next reading may follow soon, and a new client has to find the broker first.
    idle: Arc<Mutex<Vec<Client>>>,
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Refetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refetch").finish_non_exhaustive()
    }
}

/// Records of a partition that are to become dead letters.
#[derive(Debug)]
pub struct RefetchRequest {
    /// Topic with its namespace.
    pub topic: Arc<str>,
    /// Its identity.
    pub topic_id: Uuid,
    /// Its partition.
    pub partition: i32,
    /// The JSON field, a dotted path, that names a record's tenant.
    pub tenant: String,
    /// Their offsets, in order, and why each cannot land.
    pub records: Vec<(i64, String)>,
    /// How often they were tried.
    pub attempts: u32,
}

/// A record that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its payload; a tombstone has none.
    pub payload: Option<Vec<u8>>,
}

/// Some dead letters, in order. Their bytes are in the budget until it is dropped.
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
    /// Opens no connection yet. `group` is never joined, but a broker may ask for the right to use it.
    pub fn new(mut kafka: ClientConfig, group: &str) -> Self {
        kafka
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            // A full queue is left alone for a second by default.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.max.messages.kbytes", QUEUE_KIB);
        Self { kafka, idle: Arc::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The dead letters of records which ClickHouse refused, in chunks that are charged to permits like `permit`. Those that
    /// are no longer in their topic are left out.
    pub fn dead_letters(&self, wanted: RefetchRequest, permit: &Permit) -> mpsc::Receiver<Result<Chunk, KafkaError>> {
        let (chunks, receiver) = mpsc::channel(1);
        let mut chunk = Chunk::new(permit.sibling());
        let handed = chunks.clone();
        let read = move |client: &Client| {
            let RefetchRequest { topic, topic_id, partition, tenant: path, records, attempts } = wanted;
            let mut reasons = records.iter();
            let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
            let goes_on = read(client, &topic, partition, &offsets, |message| {
                let reason = reasons.find(|(offset, _)| *offset == message.offset()).map_or("", |(_, reason)| reason);
                let tenant = message.payload().and_then(|payload| compose::tenant_at(payload, &path));
                chunk.push(compose::from_message(message, topic_id, reason, "write", attempts, tenant));
                if !chunk.is_full() {
                    return true;
                }
                let next = Chunk::new(chunk.permit.sibling());
                handed.blocking_send(Ok(std::mem::replace(&mut chunk, next))).is_ok()
            })?;
            if goes_on && !chunk.letters.is_empty() {
                // Nobody waits for it any more where the assignment has ended.
                drop(handed.blocking_send(Ok(chunk)));
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

    /// The record at `offset`, unless it is no longer there.
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
        let (kafka, idle, turns) = (self.kafka.clone(), Arc::clone(&self.idle), Arc::clone(&self.turns));
        let work = move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let client = kept.map_or_else(|| kafka.create(), Ok)?;
            let outcome = read(&client)?;
            client.unassign()?;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
            Ok(outcome)
        };
        async move {
            let _turn = turns.acquire_owned().await.expect("nobody closes this semaphore");
            blocking(work).await
        }
    }
}

/// Hands the records at `offsets` (in order) to `take`, as far as they are still there, until it says that this is enough.
/// Says whether it never did.
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
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        match client.poll(deadline.saturating_duration_since(Instant::now())) {
            Some(Ok(message)) => {
                deadline = Instant::now() + PATIENCE;
                let offset = message.offset();
                if offsets.binary_search(&offset).is_ok() && !take(&message) {
                    return Ok(false);
                }
                if offset >= *last {
                    return Ok(true);
                }
            }
            // The end of the log, or a log that begins behind the first of them: the rest is gone.
            Some(Err(
                KafkaError::PartitionEOF(_) | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset),
            )) => return Ok(true),
            Some(Err(error)) if Instant::now() >= deadline => return Err(error),
            Some(Err(_)) => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}
