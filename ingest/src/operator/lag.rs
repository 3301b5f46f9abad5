//! Determines what a group has yet to read while no worker runs: the first record at or after its offset.
//! Offsets alone are not enough: transaction markers, aborted and compacted records leave offsets that are never read.
//! It joins no group, commits no offset, and stops reading after [`TIMEOUT`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::offsets::PartitionOffsets;

/// How long to read in search of records before a partition is left undecided.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Poll interval.
const POLL: Duration = Duration::from_millis(100);

/// Readable records that are not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// At most this many; offsets without a record count if they lie between records.
    Records(i64),
    /// No record was found in time; this many offsets remain to be read.
    AtMost(i64),
}

/// The offset at which reading starts: the group's, or the start of the log.
fn start(offsets: &PartitionOffsets) -> i64 {
    offsets.committed.map_or(offsets.bounds.low, |offset| offset.max(offsets.bounds.low))
}

/// Determines the lag of each of these partitions of a topic. The client's error for a partition's end names no topic,
/// so one client reads one topic.
pub(crate) fn lags(
    mut kafka: ClientConfig,
    topic: &str,
    partitions: &BTreeMap<i32, PartitionOffsets>,
) -> KafkaResult<BTreeMap<i32, Lag>> {
    let mut undecided: BTreeMap<i32, PartitionOffsets> = partitions.clone();
    undecided.retain(|_, offsets| start(offsets) < offsets.bounds.stable);
    let mut lags: BTreeMap<i32, Lag> = partitions.keys().map(|number| (*number, Lag::Records(0))).collect();
    if undecided.is_empty() {
        return Ok(lags);
    }
    kafka.set("auto.offset.reset", "error").set("enable.partition.eof", "true");
    kafka.set("queued.min.messages", "1").set("queued.max.messages.kbytes", "4096");
    let client: BaseConsumer<DefaultConsumerContext> = kafka.create()?;
    let mut list = TopicPartitionList::with_capacity(undecided.len());
    for (number, offsets) in &undecided {
        list.add_partition_offset(topic, *number, Offset::Offset(start(offsets)))?;
    }
    client.assign(&list)?;
    let deadline = Instant::now() + TIMEOUT;
    while !undecided.is_empty() && Instant::now() < deadline {
        if let Some((number, lag)) = search(&client, &mut undecided)? {
            lags.insert(number, lag);
            let mut done = TopicPartitionList::with_capacity(1);
            done.add_partition(topic, number);
            client.pause(&done)?;
        }
    }
    lags.extend(
        undecided.into_iter().map(|(number, offsets)| (number, Lag::AtMost(offsets.bounds.stable - start(&offsets)))),
    );
    Ok(lags)
}

/// Polls once; returns the lag of a partition if it is now known.
fn search(
    client: &BaseConsumer<DefaultConsumerContext>,
    undecided: &mut BTreeMap<i32, PartitionOffsets>,
) -> KafkaResult<Option<(i32, Lag)>> {
    Ok(match client.poll(POLL) {
        Some(Ok(message)) => {
            let offsets = undecided.remove(&message.partition());
            offsets
                .map(|offsets| (message.partition(), Lag::Records((offsets.bounds.stable - message.offset()).max(0))))
        }
        Some(Err(KafkaError::PartitionEOF(number))) => undecided.remove(&number).map(|_| (number, Lag::Records(0))),
        Some(Err(KafkaError::MessageConsumptionFatal(code))) => return Err(KafkaError::MessageConsumption(code)),
        // The client retries; a partition that cannot be read is left undecided.
        Some(Err(_)) | None => None,
    })
}
