//! Finds which offsets of a topic partition have a record: it distinguishes a loss from a gap left by aborted
//! transactions, their markers or compaction. It reads only the given spans, joins no group and commits no offset.

use std::ops::Range;
use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::fetch::{self, FetchSource};
use crate::kafka::offsets;
use crate::kafka::offsets::TIMEOUT;
use sluice_schemas::concurrency::blocking;

/// Maximum bytes fetched but not processed.
const FETCH_BYTES: u64 = 8 << 20;
/// Maximum gap between two spans that is read through rather than skipped, in offsets.
const MAX_READ_THROUGH: i64 = 20_000;

/// Returns the offsets in `spans` (in order) that have a record outside aborted transactions.
pub async fn records(
    mut kafka: ClientConfig,
    topic: &str,
    partition: i32,
    spans: Vec<Range<i64>>,
) -> Result<Vec<i64>, offsets::Error> {
    kafka.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
    // One partition at a time, and thus one broker.
    fetch::bound(&mut kafka, FETCH_BYTES, FetchSource { brokers: 1, largest_batch: None });
    let topic = topic.to_owned();
    blocking(move || read(&kafka, &topic, partition, &spans).map_err(|cause| offsets::Error::from_kafka(&topic, cause)))
        .await
}

fn read(kafka: &ClientConfig, topic: &str, partition: i32, spans: &[Range<i64>]) -> KafkaResult<Vec<i64>> {
    let consumer: BaseConsumer<DefaultConsumerContext> = kafka.create()?;
    let (mut offsets, mut remaining) = (Vec::new(), spans);
    let mut position = None;
    while let Some(next) = remaining.first() {
        if position.is_none_or(|at| next.start - at > MAX_READ_THROUGH) {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(topic, partition, Offset::Offset(next.start))?;
            consumer.assign(&list)?;
        }
        let Some(offset) = next_offset(&consumer)? else { break };
        position = Some(offset);
        while remaining.first().is_some_and(|span| span.end <= offset) {
            remaining = &remaining[1..];
        }
        if remaining.first().is_some_and(|span| span.contains(&offset)) {
            offsets.push(offset);
            if remaining[0].end == offset + 1 {
                remaining = &remaining[1..];
            }
        }
    }
    Ok(offsets)
}

/// Offset of the next record; `None` at the end of the partition.
fn next_offset(consumer: &BaseConsumer<DefaultConsumerContext>) -> KafkaResult<Option<i64>> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match consumer.poll(deadline.saturating_duration_since(Instant::now())) {
            Some(Ok(message)) => return Ok(Some(message.offset())),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(error)) if Instant::now() >= deadline => return Err(error),
            // librdkafka retries.
            Some(Err(_)) => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}
