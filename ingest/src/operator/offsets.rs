//! The operator's commands on the group's offsets: `sluice ingest offsets show | set | skip | accept`.
//! A topic and a partition go in; the group's offsets, or the effect of a change, come out, and the change is committed
//! on request. Kafka accepts no offset from outside while the group has a member, so no offset can be moved under a
//! running worker.
//!
//! | verb | commits | metadata | the next worker |
//! |---|---|---|---|
//! | `set` | any offset of the log | none | looks up every batch up to the end of the log, and writes what is missing |
//! | `skip` | the first offset after unreadable records, each of which gets a dead letter | none | as after `set` |
//! | `accept` | one past the table's highest offset, unless one is named | an intent without ranges | looks nothing up, unless the table holds more than that |

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::names::Names;
use sluice_schemas::records::{DeadLetter, HeadersLeftOut};
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::lag;
use super::lag::Lag;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::lookup;
use crate::clock::{self, unix_now};
use crate::config::Settings;
use crate::dead_letter::producer::DeadLetters;
use crate::exactly_once::intent::{Doubt, Intent};
use crate::failure::{Class, Failure};
use crate::kafka::fetch::{self, Supply};
use crate::kafka::offsets;
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::offsets::TopicOffsets;
use crate::kafka::topic_config;
use crate::kafka::unreadable::{Next, Probe};
use crate::kafka::watermarks::Watermarks;
use crate::target::Target;
use sluice_schemas::concurrency::blocking;

/// Reason of a dead letter whose record is unreadable.
pub const UNREADABLE: &str = "unreadable";
/// Dead letters that are sent together, and the KiB of their producer's queue.
const LETTERS_PER_SEND: usize = 1000;
const QUEUE_KIB: u64 = 4096;

/// Why a command on offsets fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The group's offsets cannot be read.
    #[error(transparent)]
    TopicOffsets(#[from] offsets::Error),
    /// ClickHouse does not respond, or not as expected.
    #[error("read table {table}: {failure}; check that ClickHouse runs, and [stores.clickhouse]")]
    ClickHouse {
        /// The table.
        table: String,
        /// The failure.
        failure: Failure,
    },
    /// No pipeline consumes the topic.
    #[error("find the pipeline of topic {0}: ingest.pipelines has none of that name")]
    NoPipeline(String),
    /// The topic has no such partition.
    #[error("find partition {partition} of topic {topic}: it has {count}, numbered from 0")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The requested partition.
        partition: i32,
        /// Number of its partitions.
        count: usize,
    },
    /// The offset is not in the log.
    #[error("use offset {offset}: the log holds {low} to {high}; name one of these offsets, or a worker stops at once")]
    OutOfLog {
        /// The requested offset.
        offset: i64,
        /// The first offset of the log.
        low: i64,
        /// One past its last offset.
        high: i64,
    },
    /// The record is readable.
    #[error("skip offset {0}: it can be read, so a worker accepts it; use `offsets set` to skip readable records")]
    Readable(i64),
    /// Earlier records have yet to land.
    #[error(
        "skip offset {offset}: the group has committed {}, and the records in between must land first; let a worker run \
         until /readyz names the offset and `offsets show` shows it as committed, then stop all workers",
        committed.map_or_else(|| "nothing".to_owned(), |at| at.to_string())
    )]
    NotNext {
        /// The requested offset.
        offset: i64,
        /// The group's committed offset.
        committed: Option<i64>,
    },
    /// The dead letters of the skipped records are not acknowledged.
    #[error("send the dead letters of the skipped records: {0}")]
    Letters(Failure),
    /// The table has no row to derive the offset from.
    #[error("accept the contents of table {0}: it has no row of this topic and partition; name an offset with --at")]
    NothingThere(String),
    /// The group has members.
    #[error(
        "commit for group {0}: it has running workers, so Kafka accepts no offset from outside; stop all of them \
         (those that were killed leave when their session ends), then try again"
    )]
    Active(String),
    /// Kafka did not accept the offset.
    #[error("commit for group {group}: {cause}; check that Kafka runs, and [stores.kafka] and ingest.kafka")]
    Commit {
        /// The group.
        group: String,
        /// The client's error.
        cause: KafkaError,
    },
    /// The HTTP client cannot be created.
    #[error("prepare the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
}

/// The target of `set`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The start of the log.
    Start,
    /// Its end.
    End,
    /// This offset.
    Offset(i64),
}

/// The group's offsets in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Topic with its namespace.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offsets in Kafka.
    pub offsets: PartitionOffsets,
    /// Readable records that are not committed.
    pub lag: Lag,
    /// The highest offset of the partition in the table.
    pub highest: Option<i64>,
}

/// An offset to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Topic with its namespace.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The group's current offset.
    pub from: Option<i64>,
    /// The new offset.
    pub to: i64,
    /// First offset that no worker consumes because of the change, if any; workers consume from `to` on.
    pub skips_from: Option<i64>,
    metadata: String,
}

/// Unreadable records to be skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The change to be committed.
    pub change: Change,
    /// The first of them; all from here up to the new offset are skipped.
    pub from: i64,
    topic_id: Uuid,
}

impl Skip {
    fn letter(&self, offset: i64) -> DeadLetter {
        DeadLetter {
            key: None,
            payload: None,
            headers: Vec::new(),
            headers_left_out: Some(HeadersLeftOut::Unreadable),
            reason: UNREADABLE.to_owned(),
            stage: "consume".to_owned(),
            error_class: Class::Row.as_str().to_owned(),
            topic: self.change.topic.clone(),
            topic_id: self.topic_id,
            partition: self.change.partition,
            offset,
            timestamp_ms: None,
            attempts: 1,
            tenant_id: None,
        }
    }
}

/// The group and the tables of its topics.
#[derive(Debug)]
pub struct Offsets {
    settings: Settings,
    stores: Stores,
    names: Names,
    clickhouse: ClickHouse,
}

impl Offsets {
    /// Opens no connection yet.
    pub fn new(settings: Settings, stores: Stores, names: Names) -> Result<Self, Error> {
        let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), settings.insert_timeout)?;
        Ok(Self { settings, stores, names, clickhouse })
    }

    /// The group's offsets in one topic or in those of all enabled pipelines, and errors of partitions whose offsets
    /// Kafka does not report.
    pub async fn show(&self, topic: Option<&str>) -> Result<(Vec<Line>, Vec<offsets::Error>), Error> {
        let topics = self.settings.tables(&self.names, topic);
        let topics = topics.ok_or_else(|| Error::NoPipeline(topic.unwrap_or_default().to_owned()))?;
        let names: Vec<_> = topics.iter().map(|(topic, _)| topic.clone()).collect();
        let all_offsets = offsets::read_partially(self.kafka(), names).await?;
        let (mut lines, mut all_missing) = (Vec::new(), Vec::new());
        for ((topic, table), (topic_offsets, missing)) in topics.into_iter().zip(all_offsets) {
            all_missing.extend(missing);
            let lags = self.lags(&topic, &topic_offsets).await?;
            for (partition, partition_offsets) in &topic_offsets.partitions {
                let highest = self.highest(&topic, &table, &topic_offsets, *partition).await?;
                let lag = lags
                    .get(partition)
                    .copied()
                    .unwrap_or(Lag::AtMost(partition_offsets.ends.stable - partition_offsets.ends.low));
                let (topic, partition_offsets) = (topic.clone(), partition_offsets.clone());
                lines.push(Line { topic, partition: *partition, offsets: partition_offsets, lag, highest });
            }
        }
        Ok((lines, all_missing))
    }

    async fn lags(&self, topic: &str, topic_offsets: &TopicOffsets) -> Result<BTreeMap<i32, Lag>, Error> {
        let (kafka, topic, partitions) = (self.kafka(), topic.to_owned(), topic_offsets.partitions.clone());
        let lags = blocking(move || {
            lag::lags(kafka, &topic, &partitions).map_err(|cause| offsets::Error::from_kafka(&topic, cause))
        });
        Ok(lags.await?)
    }

    /// The effect of setting an offset.
    pub async fn set(&self, topic: &str, partition: i32, to: To) -> Result<Change, Error> {
        self.table(topic)?;
        let partition_offsets = self.partition_offsets(topic, partition).await?.1;
        let to = match to {
            To::Start => partition_offsets.ends.low,
            To::End => partition_offsets.ends.high,
            To::Offset(offset) => offset,
        };
        change(topic, partition, &partition_offsets, to, String::new())
    }

    /// The effect of skipping the unreadable records at `offset`.
    pub async fn skip(&self, topic: &str, partition: i32, offset: i64) -> Result<Skip, Error> {
        self.table(topic)?;
        let (topic_offsets, partition_offsets) = self.partition_offsets(topic, partition).await?;
        let next = partition_offsets.committed.unwrap_or(partition_offsets.ends.low);
        if next != offset {
            return Err(Error::NotNext { offset, committed: partition_offsets.committed });
        }
        let kafka = self.reader(topic).await;
        let (name, high) = (topic.to_owned(), partition_offsets.ends.high);
        let end = blocking(move || {
            let ask = || {
                let probe = Probe::new(kafka)?;
                match probe.next(&name, partition, offset)? {
                    Next::Readable => Ok(None),
                    Next::Unreadable { .. } => probe.end(&name, partition, offset, high).map(Some),
                }
            };
            ask().map_err(|cause| offsets::Error::from_kafka(&name, cause))
        })
        .await?;
        let to = end.ok_or(Error::Readable(offset))?;
        Ok(Skip {
            change: change(topic, partition, &partition_offsets, to, String::new())?,
            topic_id: topic_offsets.id,
            from: offset,
        })
    }

    /// Sends a dead letter for each skipped offset, then commits.
    pub async fn commit_skip(&self, skip: &Skip) -> Result<(), Error> {
        let kafka = self.settings.client(&self.stores);
        let topic = self.names.topic(&self.settings.dead_letter_topic);
        let unsent = |cause: KafkaError| offsets::Error::from_kafka(&topic, cause);
        let letters = DeadLetters::new(kafka, &topic, QUEUE_KIB).map_err(unsent)?;
        let offsets: Vec<_> = (skip.from..skip.change.to).collect();
        for chunk in offsets.chunks(LETTERS_PER_SEND) {
            let chunk: Vec<_> = chunk.iter().map(|offset| skip.letter(*offset)).collect();
            letters.send(&chunk).await.map_err(Error::Letters)?;
        }
        self.commit(&skip.change).await
    }

    /// A client configuration that reads a topic with the limits of a worker.
    async fn reader(&self, topic: &str) -> ClientConfig {
        let mut kafka = self.kafka();
        let largest_batch = topic_config::largest_batch(&kafka, &[topic.to_owned()]).await;
        fetch::bound(&mut kafka, self.settings.queue_bytes(), Supply { brokers: 1, largest_batch });
        kafka
    }

    /// The effect of accepting the table's contents as correct, up to, not including, `at` if given.
    pub async fn accept(&self, topic: &str, partition: i32, at: Option<i64>) -> Result<Change, Error> {
        let table = self.table(topic)?;
        let (topic_offsets, partition_offsets) = self.partition_offsets(topic, partition).await?;
        let to = if let Some(at) = at {
            at
        } else {
            let highest = self.highest(topic, &table, &topic_offsets, partition).await?;
            highest.ok_or(Error::NothingThere(table))? + 1
        };
        // Without ranges, the decoder's fingerprint is not used.
        let intent = Intent { decoder: 0, announced_at: unix_now(), ranges: Vec::new() };
        change(topic, partition, &partition_offsets, to, intent.encode())
    }

    /// Commits a change.
    pub async fn commit(&self, change: &Change) -> Result<(), Error> {
        let (kafka, group, change) = (self.kafka(), self.names.group(&self.settings.group), change.clone());
        blocking(move || {
            let failed = |cause: KafkaError| match cause.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::RebalanceInProgress,
                ) => Error::Active(group.clone()),
                _ => Error::Commit { group: group.clone(), cause },
            };
            let consumer: BaseConsumer<DefaultConsumerContext> = kafka.create().map_err(failed)?;
            let mut list = TopicPartitionList::with_capacity(1);
            let mut entry = list.add_partition(&change.topic, change.partition);
            entry.set_offset(Offset::Offset(change.to)).map_err(failed)?;
            entry.set_metadata(&change.metadata);
            consumer.commit(&list, CommitMode::Sync).map_err(failed)
        })
        .await
    }

    fn table(&self, topic: &str) -> Result<String, Error> {
        let pipeline = self.settings.pipeline_of(&self.names, topic);
        pipeline.map(|(_, pipeline)| pipeline.table.clone()).ok_or_else(|| Error::NoPipeline(topic.to_owned()))
    }

    async fn partition_offsets(&self, topic: &str, partition: i32) -> Result<(TopicOffsets, PartitionOffsets), Error> {
        let mut all_offsets = offsets::read(self.kafka(), vec![topic.to_owned()]).await?;
        let topic_offsets = all_offsets.pop().ok_or_else(|| offsets::Error::NoTopic(topic.to_owned()))?;
        let partition_offsets = topic_offsets.partitions.get(&partition).cloned();
        let count = topic_offsets.partitions.len();
        let partition_offsets =
            partition_offsets.ok_or_else(|| Error::NoPartition { topic: topic.to_owned(), partition, count })?;
        Ok((topic_offsets, partition_offsets))
    }

    async fn highest(
        &self,
        topic: &str,
        table: &str,
        topic_offsets: &TopicOffsets,
        partition: i32,
    ) -> Result<Option<i64>, Error> {
        let target = Target::new(topic, topic_offsets.id, &self.names, table);
        let highest = lookup::highest(&self.clickhouse, &target, partition).await;
        highest.map_err(|failure| Error::ClickHouse { table: table.to_owned(), failure })
    }

    fn kafka(&self) -> ClientConfig {
        offsets::client_config(&self.settings, &self.stores, &self.names)
    }
}

fn change(
    topic: &str,
    partition: i32,
    partition_offsets: &PartitionOffsets,
    to: i64,
    metadata: String,
) -> Result<Change, Error> {
    let PartitionOffsets { committed, ends: Watermarks { low, high, .. }, .. } = *partition_offsets;
    if to < low || to > high {
        return Err(Error::OutOfLog { offset: to, low, high });
    }
    let next = committed.unwrap_or(low);
    let skips_from = (next < to).then_some(next);
    Ok(Change { topic: topic.to_owned(), partition, from: committed, to, skips_from, metadata })
}

/// Describes the metadata of a committed offset, as of `now` (seconds since 1970).
pub fn describe_metadata(partition_offsets: &PartitionOffsets, now: u64) -> String {
    if partition_offsets.committed.is_none() {
        return "-".to_owned();
    }
    if partition_offsets.metadata.is_empty() {
        return "none: looked up before writing".to_owned();
    }
    let Some(Intent { announced_at, ranges, .. }) = Intent::parse(&partition_offsets.metadata) else {
        return "of another program: looked up before writing".to_owned();
    };
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return "nothing announced".to_owned() };
    let age = clock::age(announced_at, now)
        .map_or("at a time in the future".to_owned(), |age| format!("{} s ago", age.as_secs()));
    let in_doubt = ranges.iter().filter(|announced| announced.doubt != Doubt::No).count();
    let doubt = if in_doubt > 0 { format!(", {in_doubt} to be looked up") } else { String::new() };
    let count = ranges.len();
    let what = if count == 1 { "1 range".to_owned() } else { format!("{count} ranges") };
    format!("{what} announced, {} to {}, {age}{doubt}", first.range.first, last.range.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition_offsets(committed: Option<i64>, metadata: &str) -> PartitionOffsets {
        PartitionOffsets {
            committed,
            metadata: metadata.to_owned(),
            ends: Watermarks { low: 10, stable: 20, high: 20 },
        }
    }

    #[test]
    fn a_change_stays_within_the_log_and_states_what_it_skips() {
        let to = |committed, to| change("t", 0, &partition_offsets(committed, ""), to, String::new());
        assert_eq!(to(Some(12), 11).unwrap().skips_from, None);
        assert_eq!(to(Some(12), 12).unwrap().skips_from, None);
        assert_eq!(to(Some(12), 20).unwrap().skips_from, Some(12));
        assert_eq!(to(None, 10).unwrap().skips_from, None);
        assert_eq!(to(None, 15).unwrap().skips_from, Some(10));
        insta::assert_snapshot!(to(None, 9).unwrap_err(), @"use offset 9: the log holds 10 to 20; name one of these offsets, or a worker stops at once");
        assert!(to(None, 21).is_err());
    }

    #[test]
    fn the_metadata_of_an_offset_is_described() {
        let describe = |text: &str| describe_metadata(&partition_offsets(Some(12), text), 100);
        assert_eq!(describe_metadata(&partition_offsets(None, ""), 100), "-");
        assert_eq!(describe(""), "none: looked up before writing");
        assert_eq!(describe("{}"), "of another program: looked up before writing");
        assert_eq!(describe("sluice2 000000000000001f 70"), "nothing announced");
        let digest = "0".repeat(32);
        let one = format!("sluice2 000000000000001f 70 12+8:{digest}");
        assert_eq!(describe(&one), "1 range announced, 12 to 20, 30 s ago");
        let future = one.replace(" 70 ", " 170 ");
        assert_eq!(describe(&future), "1 range announced, 12 to 20, at a time in the future");
        assert_eq!(
            describe(&format!("{one} 21+0:{digest}?")),
            "2 ranges announced, 12 to 21, 30 s ago, 1 to be looked up"
        );
    }
}
