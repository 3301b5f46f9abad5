//! What a group has still to read, found out while no worker runs: the first record behind its offset.
//! Partitions and offsets go in; whether anything can be read there, and from where on, comes out. Offsets say little by
//! themselves: transaction markers, aborted and compacted records leave offsets that nobody ever reads. Joins no group,
//! commits nothing, and gives up after a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::offsets::PartitionOffsets;

/// How long is read in search of records before a partition is left open.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether a partition's end was reached.
const LOOK: Duration = Duration::from_millis(100);

/// Records that can be read and are not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// So many at most; offsets that no record has count where they lie between records.
    Records(i64),
    /// None was found in time among so many offsets.
    AtMost(i64),
}

/// Where reading would begin: at the group's offset, or at the start of the log.
fn next(found: &PartitionOffsets) -> i64 {
    found.committed.map_or(found.ends.low, |offset| offset.max(found.ends.low))
}

/// Finds out for each of these partitions of a topic. The client's error for a partition's end names no topic, so a client
/// reads one topic.
pub(crate) fn lags(
    mut kafka: ClientConfig,
    topic: &str,
    partitions: &BTreeMap<i32, PartitionOffsets>,
) -> KafkaResult<BTreeMap<i32, Lag>> {
    let mut open: BTreeMap<i32, PartitionOffsets> = partitions.clone();
    open.retain(|_, found| next(found) < found.ends.stable);
    let mut lags: BTreeMap<i32, Lag> = partitions.keys().map(|number| (*number, Lag::Records(0))).collect();
    if open.is_empty() {
        return Ok(lags);
    }
    kafka.set("auto.offset.reset", "error").set("enable.partition.eof", "true");
    kafka.set("queued.min.messages", "1").set("queued.max.messages.kbytes", "4096");
    let client: BaseConsumer<DefaultConsumerContext> = kafka.create()?;
    let mut list = TopicPartitionList::with_capacity(open.len());
    for (number, found) in &open {
        list.add_partition_offset(topic, *number, Offset::Offset(next(found)))?;
    }
    client.assign(&list)?;
    let until = Instant::now() + PATIENCE;
    while !open.is_empty() && Instant::now() < until {
        if let Some((number, lag)) = search(&client, &mut open)? {
            lags.insert(number, lag);
            let mut done = TopicPartitionList::with_capacity(1);
            done.add_partition(topic, number);
            client.pause(&done)?;
        }
    }
    lags.extend(open.into_iter().map(|(number, found)| (number, Lag::AtMost(found.ends.stable - next(&found)))));
    Ok(lags)
}

/// Reads on until something is known about one more partition, or for a moment.
fn search(
    client: &BaseConsumer<DefaultConsumerContext>,
    open: &mut BTreeMap<i32, PartitionOffsets>,
) -> KafkaResult<Option<(i32, Lag)>> {
    Ok(match client.poll(LOOK) {
        Some(Ok(message)) => {
            let found = open.remove(&message.partition());
            found.map(|found| (message.partition(), Lag::Records((found.ends.stable - message.offset()).max(0))))
        }
        Some(Err(KafkaError::PartitionEOF(number))) => open.remove(&number).map(|_| (number, Lag::Records(0))),
        Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Err(KafkaError::MessageConsumption(code)),
        // The client tries again; a partition that cannot be read is left open.
        Some(Err(_)) | None => None,
    })
}
