//! What is measured, for Prometheus at `/metrics`.
//! Stages report here; text in the OpenMetrics format comes out. Labels never hold a tenant, a key or a value of a record.
//!
//! | metric | labels | what |
//! |---|---|---|
//! | `sluice_ingest_consumed_records_total` | topic | records in sealed batches |
//! | `sluice_ingest_landed_rows_total` | topic | rows that ClickHouse acknowledged |
//! | `sluice_ingest_landed_bytes_total` | topic | the same in RowBinary bytes |
//! | `sluice_ingest_dead_letters_total` | topic, reason | records rejected, by reason |
//! | `sluice_ingest_batches_total` | topic, cut | batches sealed, by what sealed them |
//! | `sluice_ingest_batch_rows` | topic | histogram of records per batch |
//! | `sluice_ingest_batch_age_seconds` | topic | histogram of a batch's age when it was sealed |
//! | `sluice_ingest_stage_seconds` | stage | histogram of the time in `decode` (a burst of records), `dead_letter`, `write` (a part) and `commit` |
//! | `sluice_ingest_retries_total` | topic, class | attempts that failed |
//! | `sluice_ingest_commits_total` | outcome | offset commits, `acknowledged` or `failed` |
//! | `sluice_ingest_lag` | topic, partition | records between the committed offset and the end of the partition |
//! | `sluice_ingest_bytes_in_flight` | topic | bytes on their way |
//! | `sluice_ingest_budget_bytes` | | the limit of those bytes, all topics together |
//! | `sluice_ingest_paused_partitions` | topic | partitions that take nothing in |

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::batch::{Batch, Cut};
use crate::retry::Class;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicReason {
    topic: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicCut {
    topic: String,
    cut: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicClass {
    topic: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicPartition {
    topic: String,
    partition: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// A stage whose time is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Decoding a burst of records.
    Decode,
    /// Sending a batch's dead letters, retries included.
    DeadLetter,
    /// Writing a part, retries included.
    Write,
    /// A commit until Kafka's answer.
    Commit,
}

/// All metrics of a worker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    consumed: Family<Topic, Counter>,
    landed_rows: Family<Topic, Counter>,
    landed_bytes: Family<Topic, Counter>,
    dead_letters: Family<TopicReason, Counter>,
    batches: Family<TopicCut, Counter>,
    batch_rows: Family<Topic, Histogram>,
    batch_age: Family<Topic, Histogram>,
    stages: Family<StageLabel, Histogram>,
    retries: Family<TopicClass, Counter>,
    lookups: Family<Topic, Counter>,
    replayed_rows: Family<Topic, Counter>,
    rebuilds: Family<Outcome, Counter>,
    commits: Family<Outcome, Counter>,
    lag: Family<TopicPartition, Gauge>,
    in_flight: Family<Topic, Gauge<u64, AtomicU64>>,
    paused: Family<Topic, Gauge<u64, AtomicU64>>,
}

fn topic(topic: &str) -> Topic {
    Topic { topic: topic.to_owned() }
}

impl Metrics {
    /// Metrics of a worker whose batches may hold `budget` bytes.
    pub fn new(budget: usize) -> Self {
        let rows = || Histogram::new(exponential_buckets(10.0, 4.0, 8));
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.5, 13));
        let mut metrics = Self {
            registry: Registry::with_prefix("sluice_ingest"),
            consumed: Family::default(),
            landed_rows: Family::default(),
            landed_bytes: Family::default(),
            dead_letters: Family::default(),
            batches: Family::default(),
            batch_rows: Family::new_with_constructor(rows),
            batch_age: Family::new_with_constructor(seconds),
            stages: Family::new_with_constructor(seconds),
            retries: Family::default(),
            lookups: Family::default(),
            replayed_rows: Family::default(),
            rebuilds: Family::default(),
            commits: Family::default(),
            lag: Family::default(),
            in_flight: Family::default(),
            paused: Family::default(),
        };
        metrics.register(budget);
        metrics
    }

    fn register(&mut self, budget: usize) {
        let registry = &mut self.registry;
        registry.register("consumed_records", "Records in sealed batches", self.consumed.clone());
        registry.register("landed_rows", "Rows that ClickHouse acknowledged", self.landed_rows.clone());
        registry.register("landed_bytes", "Encoded bytes that ClickHouse acknowledged", self.landed_bytes.clone());
        registry.register("dead_letters", "Records rejected, by reason", self.dead_letters.clone());
        registry.register("batches", "Batches sealed, by what sealed them", self.batches.clone());
        registry.register("batch_rows", "Records per batch", self.batch_rows.clone());
        registry.register("batch_age_seconds", "Age of a batch when it was sealed", self.batch_age.clone());
        registry.register("stage_seconds", "Time in a stage", self.stages.clone());
        registry.register("retries", "Attempts that failed, by class", self.retries.clone());
        registry.register("lookups", "Ranges looked up in their table before or after an INSERT", self.lookups.clone());
        registry.register("replayed_rows", "Rows that were in their table already", self.replayed_rows.clone());
        registry.register("rebuilds", "Months of aggregate tables rebuilt, by outcome", self.rebuilds.clone());
        registry.register("commits", "Offset commits by outcome", self.commits.clone());
        registry.register("lag", "Records behind the end of the partition", self.lag.clone());
        registry.register("bytes_in_flight", "Bytes on their way", self.in_flight.clone());
        registry.register("paused_partitions", "Partitions that take nothing in", self.paused.clone());
        let limit = Gauge::<u64, AtomicU64>::default();
        limit.set(budget as u64);
        registry.register("budget_bytes", "Limit of the bytes on their way", limit);
    }

    /// The text for Prometheus.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A batch was sealed.
    pub fn sealed(&self, name: &str, batch: &Batch, cut: Cut) {
        self.consumed.get_or_create(&topic(name)).inc_by(batch.records() as u64);
        self.batch_rows.get_or_create(&topic(name)).observe(batch.records() as f64);
        self.batch_age.get_or_create(&topic(name)).observe(batch.opened.elapsed().as_secs_f64());
        self.batches.get_or_create(&TopicCut { topic: name.to_owned(), cut: cut.as_str() }).inc();
        for letter in &batch.dead_letters {
            self.dead_letter(name, &letter.reason);
        }
    }

    /// A record cannot land.
    pub fn dead_letter(&self, name: &str, reason: &str) {
        let label = TopicReason { topic: name.to_owned(), reason: reason.to_owned() };
        self.dead_letters.get_or_create(&label).inc();
    }

    /// A range was looked up in its table.
    pub fn looked_up(&self, name: &str) {
        self.lookups.get_or_create(&topic(name)).inc();
    }

    /// Rows of a part were in their table already.
    pub fn found(&self, name: &str, rows: usize) {
        self.replayed_rows.get_or_create(&topic(name)).inc_by(rows as u64);
    }

    /// A month of an aggregate table was rebuilt, or could not be.
    pub fn rebuilt(&self, is_done: bool) {
        self.rebuilds.get_or_create(&Outcome { outcome: if is_done { "done" } else { "failed" } }).inc();
    }

    /// A part was acknowledged.
    pub fn landed(&self, name: &str, rows: usize, bytes: usize) {
        self.landed_rows.get_or_create(&topic(name)).inc_by(rows as u64);
        self.landed_bytes.get_or_create(&topic(name)).inc_by(bytes as u64);
    }

    /// A stage took this long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let stage = match stage {
            Stage::Decode => "decode",
            Stage::DeadLetter => "dead_letter",
            Stage::Write => "write",
            Stage::Commit => "commit",
        };
        self.stages.get_or_create(&StageLabel { stage }).observe(took.as_secs_f64());
    }

    /// An attempt failed.
    pub fn retry(&self, name: &str, class: Class) {
        self.retries.get_or_create(&TopicClass { topic: name.to_owned(), class: class.as_str() }).inc();
    }

    /// Kafka answered a commit.
    pub fn commit(&self, acknowledged: bool) {
        let outcome = if acknowledged { "acknowledged" } else { "failed" };
        self.commits.get_or_create(&Outcome { outcome }).inc();
    }

    /// How far a partition is behind.
    pub fn lag(&self, name: &str, partition: i32, records: i64) {
        self.lag.get_or_create(&TopicPartition { topic: name.to_owned(), partition }).set(records);
    }

    /// A partition is no longer ours to report on.
    pub fn forget_lag(&self, name: &str, partition: i32) {
        self.lag.remove(&TopicPartition { topic: name.to_owned(), partition });
    }

    /// Bytes on their way and partitions that take nothing in.
    pub fn flow(&self, name: &str, bytes: usize, paused: usize) {
        self.in_flight.get_or_create(&topic(name)).set(bytes as u64);
        self.paused.get_or_create(&topic(name)).set(paused as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_table_above() {
        let metrics = Metrics::new(1000);
        metrics.landed("t", 3, 30);
        metrics.retry("t", Class::Operator);
        metrics.lag("t", 0, 7);
        let text = metrics.encode().unwrap();
        for line in [
            "sluice_ingest_landed_rows_total{topic=\"t\"} 3",
            "sluice_ingest_retries_total{topic=\"t\",class=\"operator\"} 1",
            "sluice_ingest_lag{topic=\"t\",partition=\"0\"} 7",
            "sluice_ingest_budget_bytes 1000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        metrics.forget_lag("t", 0);
        assert!(!metrics.encode().unwrap().contains("sluice_ingest_lag{"));
    }
}
