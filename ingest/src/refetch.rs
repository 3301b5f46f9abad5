//! Reading one record again: a row that only ClickHouse refuses was encoded and its raw bytes freed, and a dead letter
//! needs them, as does a replay of a dead letter that had to leave its payload out. A topic, a partition and an offset go
//! in, the record's dead letter or its payload comes out. It belongs to no group and commits nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::records::DeadLetter;

use crate::dead_letter;
use crate::write::Target;
use crate::write::failure::Failure;

/// How long Kafka may take.
const PATIENCE: Duration = Duration::from_secs(30);

type Client = BaseConsumer<DefaultConsumerContext>;

/// Reads single records.
pub struct Refetch {
    kafka: ClientConfig,
    /// The client that read the last one: the next may follow soon, and a new client has to find the broker first.
    idle: Arc<Mutex<Option<Client>>>,
}

impl fmt::Debug for Refetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refetch").finish_non_exhaustive()
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
            .set("queued.min.messages", "1")
            // After one record its queue counts as full, and a full one is left alone for a second by default.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.max.messages.kbytes", "2048");
        Self { kafka, idle: Arc::default() }
    }

    /// The dead letter of the record at `offset`, which ClickHouse refused; `None` if it is no longer there.
    pub async fn dead_letter(
        &self,
        target: &Target,
        partition: i32,
        offset: i64,
        failure: &Failure,
        attempts: u32,
    ) -> Result<Option<DeadLetter>, KafkaError> {
        let (id, reason, path) = (target.topic_id, failure.code.clone(), target.tenant.clone());
        let letter = move |message: &BorrowedMessage<'_>| {
            let tenant = message.payload().and_then(|payload| dead_letter::tenant_at(payload, &path));
            dead_letter::of(message, id, &reason, "write", attempts + 1, tenant)
        };
        self.read(&target.topic, partition, offset, letter).await
    }

    /// The payload of the record at `offset`; `None` if the record is no longer there.
    pub async fn payload(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Option<Option<Vec<u8>>>, KafkaError> {
        self.read(topic, partition, offset, |message| message.payload().map(<[u8]>::to_vec)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        take: impl FnOnce(&BorrowedMessage<'_>) -> T + Send + 'static,
    ) -> Result<Option<T>, KafkaError> {
        let (kafka, idle, topic) = (self.kafka.clone(), Arc::clone(&self.idle), topic.to_owned());
        let read = move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).take();
            let client = kept.map_or_else(|| kafka.create(), Ok)?;
            let found = read(&client, &topic, partition, offset, take)?;
            client.unassign()?;
            *idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
            Ok(found)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| KafkaError::Canceled)?
    }
}

fn read<T>(
    client: &Client,
    topic: &str,
    partition: i32,
    offset: i64,
    take: impl FnOnce(&BorrowedMessage<'_>) -> T,
) -> Result<Option<T>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    client.assign(&list)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.poll(deadline.saturating_duration_since(Instant::now())) {
            Some(Ok(message)) if message.offset() == offset => return Ok(Some(take(&message))),
            // Something else, the end of the log, or a log that begins after it: the record is gone.
            Some(
                Ok(_)
                | Err(KafkaError::PartitionEOF(_) | KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)),
            ) => return Ok(None),
            Some(Err(error)) if Instant::now() >= deadline => return Err(error),
            Some(Err(_)) => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}
