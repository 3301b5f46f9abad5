//! Which offsets of a topic partition have a record: what tells a loss from a gap that aborted transactions, their markers
//! or compaction leave. Stretches of offsets go in, the offsets in them that have a record come out. It reads those
//! stretches only, belongs to no group and commits nothing.

use std::ops::Range;
use std::time::Instant;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::fetch::{self, Supply};
use crate::kafka::offsets;
use crate::kafka::offsets::PATIENCE;
use sluice_schemas::concurrency::blocking;

/// Bytes that are fetched and not yet looked at, at most.
const FETCHED: u64 = 8 << 20;
/// Offsets between two stretches that are rather read than jumped over.
const NEAR: i64 = 20_000;

/// The offsets in `stretches` (in order) that have a record which no transaction took back.
pub async fn records(
    mut kafka: ClientConfig,
    topic: &str,
    partition: i32,
    stretches: Vec<Range<i64>>,
) -> Result<Vec<i64>, offsets::Error> {
    kafka.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
    // One partition at a time, and so one broker.
    fetch::bound(&mut kafka, FETCHED, Supply { brokers: 1, largest_batch: None });
    let topic = topic.to_owned();
    blocking(move || {
        read(&kafka, &topic, partition, &stretches).map_err(|cause| offsets::Error::from_kafka(&topic, cause))
    })
    .await
}

fn read(kafka: &ClientConfig, topic: &str, partition: i32, stretches: &[Range<i64>]) -> KafkaResult<Vec<i64>> {
    let consumer: BaseConsumer<DefaultConsumerContext> = kafka.create()?;
    let (mut found, mut rest) = (Vec::new(), stretches);
    let mut position = None;
    while let Some(next) = rest.first() {
        if position.is_none_or(|at| next.start - at > NEAR) {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(topic, partition, Offset::Offset(next.start))?;
            consumer.assign(&list)?;
        }
        let Some(offset) = next_offset(&consumer)? else { break };
        position = Some(offset);
        while rest.first().is_some_and(|stretch| stretch.end <= offset) {
            rest = &rest[1..];
        }
        if rest.first().is_some_and(|stretch| stretch.contains(&offset)) {
            found.push(offset);
            if rest[0].end == offset + 1 {
                rest = &rest[1..];
            }
        }
    }
    Ok(found)
}

/// Offset of the next record; `None` at the end of the partition.
fn next_offset(consumer: &BaseConsumer<DefaultConsumerContext>) -> KafkaResult<Option<i64>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match consumer.poll(deadline.saturating_duration_since(Instant::now())) {
            Some(Ok(message)) => return Ok(Some(message.offset())),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
            Some(Err(error)) if Instant::now() >= deadline => return Err(error),
            // librdkafka goes on trying by itself.
            Some(Err(_)) => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
}
