//! Reads the offsets of a consumer group, and computes and commits a change.
//! It commits nothing while the group has a member, because Kafka rejects the commit.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::concurrency::blocking;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::change::{Change, To, change};
use super::error::Error;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::lookup;
use crate::clock::unix_now;
use crate::config::Settings;
use crate::exactly_once::intent::Intent;
use crate::kafka::offsets::{self, PartitionOffsets, TopicOffsets};
use crate::operator::lag::{self, Lag};
use crate::target::Target;

/// The group's offsets in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Topic with its namespace.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// The offsets in Kafka.
    pub offsets: PartitionOffsets,
    /// Readable records that are not committed.
    pub lag: Lag,
    /// The highest offset of the partition in the table.
    pub highest: Option<i64>,
}

/// The group and the tables of its topics.
#[derive(Debug)]
pub struct Offsets {
    pub(super) settings: Settings,
    pub(super) stores: Stores,
    pub(super) names: Names,
    clickhouse: ClickHouse,
}

impl Offsets {
    /// Creates an `Offsets` without connecting.
    pub fn new(settings: Settings, stores: Stores, names: Names) -> Result<Self, Error> {
        let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), settings.insert_timeout)?;
        Ok(Self { settings, stores, names, clickhouse })
    }

    /// Returns the group's offsets in one topic or in the topics of all enabled pipelines, and the errors of partitions
    /// whose offsets Kafka does not report.
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
                    .unwrap_or(Lag::AtMost(partition_offsets.bounds.stable - partition_offsets.bounds.low));
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

    /// Returns the change that sets an offset.
    pub async fn set(&self, topic: &str, partition: i32, to: To) -> Result<Change, Error> {
        self.table(topic)?;
        let partition_offsets = self.partition_offsets(topic, partition).await?.1;
        let to = match to {
            To::Start => partition_offsets.bounds.low,
            To::End => partition_offsets.bounds.high,
            To::Offset(offset) => offset,
        };
        change(topic, partition, &partition_offsets, to, String::new())
    }

    /// Returns the change that accepts the table's contents as correct, up to but not including `at` if given.
    pub async fn accept(&self, topic: &str, partition: i32, at: Option<i64>) -> Result<Change, Error> {
        let table = self.table(topic)?;
        let (topic_offsets, partition_offsets) = self.partition_offsets(topic, partition).await?;
        let to = if let Some(at) = at {
            at
        } else {
            let highest = self.highest(topic, &table, &topic_offsets, partition).await?;
            highest.ok_or(Error::NoRows(table))? + 1
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

    pub(super) fn table(&self, topic: &str) -> Result<String, Error> {
        let pipeline = self.settings.pipeline_of(&self.names, topic);
        pipeline.map(|(_, pipeline)| pipeline.table.clone()).ok_or_else(|| Error::NoPipeline(topic.to_owned()))
    }

    pub(super) async fn partition_offsets(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<(TopicOffsets, PartitionOffsets), Error> {
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

    pub(super) fn kafka(&self) -> ClientConfig {
        offsets::client_config(&self.settings, &self.stores, &self.names)
    }
}
