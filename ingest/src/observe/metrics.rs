//! The metrics of a worker, for Prometheus at `/metrics`, in the OpenMetrics format.
//! Labels never contain a tenant, a key or a value of a record.
//! `docs/metrics.md` lists every metric with its labels; a test below compares the page with the exported metrics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::batch::Batch;
use crate::batch::limits::SealReason;
use crate::failure::Class;

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
struct TopicSealReason {
    topic: String,
    reason: &'static str,
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

/// A stage whose duration is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Decoding a burst of records.
    Decode,
    /// Sending a batch's dead letters, retries included.
    DeadLetter,
    /// Writing a part, retries included.
    Write,
    /// Waiting for Kafka's response to a commit.
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
    batches: Family<TopicSealReason, Counter>,
    batch_rows: Family<Topic, Histogram>,
    batch_age: Family<Topic, Histogram>,
    stages: Family<StageLabel, Histogram>,
    retries: Family<TopicClass, Counter>,
    lookups: Family<Topic, Counter>,
    found_rows: Family<Topic, Counter>,
    rebuilds: Family<Outcome, Counter>,
    commits: Family<Outcome, Counter>,
    lag: Family<TopicPartition, Gauge>,
    held_back: Family<TopicPartition, Gauge>,
    in_flight: Family<Topic, Gauge<u64, AtomicU64>>,
    paused: Family<Topic, Gauge<u64, AtomicU64>>,
    breaker_open: Family<Topic, Gauge<u64, AtomicU64>>,
    tenant_alarms: Family<Topic, Counter>,
}

fn topic(topic: &str) -> Topic {
    Topic { topic: topic.to_owned() }
}

impl Metrics {
    /// Creates the metrics of a worker with `budget` bytes for batches.
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
            found_rows: Family::default(),
            rebuilds: Family::default(),
            commits: Family::default(),
            lag: Family::default(),
            held_back: Family::default(),
            in_flight: Family::default(),
            paused: Family::default(),
            breaker_open: Family::default(),
            tenant_alarms: Family::default(),
        };
        metrics.register(budget);
        metrics
    }

    fn register(&mut self, budget: usize) {
        let registry = &mut self.registry;
        registry.register("consumed_records", "Records in sealed batches", self.consumed.clone());
        registry.register("landed_rows", "Rows that ClickHouse acknowledged", self.landed_rows.clone());
        registry.register("landed_bytes", "Encoded bytes that ClickHouse acknowledged", self.landed_bytes.clone());
        registry.register("dead_letters", "Records that cannot land, by reason", self.dead_letters.clone());
        registry.register("batches", "Batches sealed, by reason", self.batches.clone());
        registry.register("batch_rows", "Records per batch", self.batch_rows.clone());
        registry.register("batch_age_seconds", "Age of a batch when it was sealed", self.batch_age.clone());
        registry.register("stage_seconds", "Time in a stage", self.stages.clone());
        registry.register("retries", "Attempts that failed, by class", self.retries.clone());
        registry.register("lookups", "Ranges looked up in their table before or after an INSERT", self.lookups.clone());
        registry.register("found_rows", "Rows that a lookup found in their table", self.found_rows.clone());
        registry.register("rebuilds", "Months of aggregate tables rebuilt, by outcome", self.rebuilds.clone());
        registry.register("commits", "Offset commits by outcome", self.commits.clone());
        registry.register("lag", "Readable records that are not durable yet", self.lag.clone());
        registry.register("held_back", "Records behind an open transaction", self.held_back.clone());
        registry.register("bytes_in_flight", "Bytes of batches in flight", self.in_flight.clone());
        registry.register("paused_partitions", "Partitions whose intake is paused", self.paused.clone());
        registry.register("breaker_open", "Partitions whose breaker is open", self.breaker_open.clone());
        registry.register("breaker_tenant_alarms", "Alarms about one tenant's poison", self.tenant_alarms.clone());
        let limit = Gauge::<u64, AtomicU64>::default();
        limit.set(budget as u64);
        registry.register("budget_bytes", "Limit of the bytes of batches in flight", limit);
    }

    /// Encodes the metrics as text for Prometheus.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Records a sealed batch, and counts its dead letters.
    pub fn record_batch(&self, name: &str, batch: &Batch, reason: SealReason) {
        self.consumed.get_or_create(&topic(name)).inc_by(batch.records() as u64);
        self.batch_rows.get_or_create(&topic(name)).observe(batch.records() as f64);
        self.batch_age.get_or_create(&topic(name)).observe(batch.opened.elapsed().as_secs_f64());
        self.batches.get_or_create(&TopicSealReason { topic: name.to_owned(), reason: reason.as_str() }).inc();
        for letter in &batch.dead_letters {
            self.count_dead_letter(name, &letter.reason);
        }
    }

    /// Counts a record that cannot land.
    pub fn count_dead_letter(&self, name: &str, reason: &str) {
        let label = TopicReason { topic: name.to_owned(), reason: reason.to_owned() };
        self.dead_letters.get_or_create(&label).inc();
    }

    /// Counts a range that was looked up in its table.
    pub fn count_lookup(&self, name: &str) {
        self.lookups.get_or_create(&topic(name)).inc();
    }

    /// Counts rows of a part that a lookup found in their table.
    pub fn count_found_rows(&self, name: &str, rows: usize) {
        self.found_rows.get_or_create(&topic(name)).inc_by(rows as u64);
    }

    /// Counts a rebuild of one month of an aggregate table.
    pub fn count_rebuild(&self, is_done: bool) {
        self.rebuilds.get_or_create(&Outcome { outcome: if is_done { "done" } else { "failed" } }).inc();
    }

    /// Counts the rows and bytes of an acknowledged part.
    pub fn count_landed(&self, name: &str, rows: usize, bytes: usize) {
        self.landed_rows.get_or_create(&topic(name)).inc_by(rows as u64);
        self.landed_bytes.get_or_create(&topic(name)).inc_by(bytes as u64);
    }

    /// Records the duration of a stage.
    pub fn observe_stage(&self, stage: Stage, took: Duration) {
        let stage = match stage {
            Stage::Decode => "decode",
            Stage::DeadLetter => "dead_letter",
            Stage::Write => "write",
            Stage::Commit => "commit",
        };
        self.stages.get_or_create(&StageLabel { stage }).observe(took.as_secs_f64());
    }

    /// Counts a failed attempt.
    pub fn count_retry(&self, name: &str, class: Class) {
        self.retries.get_or_create(&TopicClass { topic: name.to_owned(), class: class.as_str() }).inc();
    }

    /// Counts a commit that was acknowledged or failed.
    pub fn count_commit(&self, acknowledged: bool) {
        let outcome = if acknowledged { "acknowledged" } else { "failed" };
        self.commits.get_or_create(&Outcome { outcome }).inc();
    }

    /// Sets the lag of a partition, and the number of records that an open transaction holds back.
    pub fn set_lag(&self, name: &str, partition: i32, records: i64, held_back: i64) {
        let label = TopicPartition { topic: name.to_owned(), partition };
        self.lag.get_or_create(&label).set(records);
        self.held_back.get_or_create(&label).set(held_back);
    }

    /// Removes the lag of a partition that is no longer assigned to this worker.
    pub fn forget_lag(&self, name: &str, partition: i32) {
        let label = TopicPartition { topic: name.to_owned(), partition };
        self.lag.remove(&label);
        self.held_back.remove(&label);
    }

    /// Sets the bytes in flight and the number of paused partitions.
    pub fn set_flow(&self, name: &str, bytes: usize, paused: usize) {
        self.in_flight.get_or_create(&topic(name)).set(bytes as u64);
        self.paused.get_or_create(&topic(name)).set(paused as u64);
    }

    /// Sets the number of partitions whose breaker is open.
    pub fn set_breaker_open(&self, name: &str, partitions: usize) {
        self.breaker_open.get_or_create(&topic(name)).set(partitions as u64);
    }

    /// Counts an alarm of the breaker about one tenant.
    pub fn count_tenant_alarm(&self, name: &str) {
        self.tenant_alarms.get_or_create(&topic(name)).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PAGE: &str = include_str!("../../../docs/metrics.md");

    /// A metric as it is exported, with the names of its labels.
    type Exported = (String, BTreeSet<String>);

    /// Metrics with one series each: a family without a series is not exported.
    fn with_all_series() -> Metrics {
        let metrics = Metrics::new(1000);
        let label = topic("t");
        for counter in [&metrics.consumed, &metrics.landed_rows, &metrics.landed_bytes] {
            counter.get_or_create(&label).inc();
        }
        for histogram in [&metrics.batch_rows, &metrics.batch_age] {
            histogram.get_or_create(&label).observe(1.0);
        }
        metrics.batches.get_or_create(&TopicSealReason { topic: label.topic, reason: SealReason::Age.as_str() }).inc();
        metrics.count_dead_letter("t", "tombstone");
        metrics.count_lookup("t");
        metrics.count_found_rows("t", 1);
        metrics.count_rebuild(true);
        metrics.observe_stage(Stage::Write, Duration::ZERO);
        metrics.count_retry("t", Class::Row);
        metrics.count_commit(true);
        metrics.set_lag("t", 0, 1, 1);
        metrics.set_flow("t", 1, 1);
        metrics.set_breaker_open("t", 1);
        metrics.count_tenant_alarm("t");
        metrics
    }

    fn exported(text: &str) -> BTreeSet<Exported> {
        let series = text.lines().filter_map(|line| line.split_once(' ')).map(|(series, _)| series);
        let series = series.map(|series| series.split_once('{').unwrap_or((series, "")));
        let series = series
            .filter(|(name, _)| name.starts_with("sluice") && !name.ends_with("_sum") && !name.ends_with("_count"));
        let labels = |text: &str| -> BTreeSet<String> {
            text.split(',')
                .filter_map(|label| Some(label.split_once('=')?.0.to_owned()))
                .filter(|name| name != "le")
                .collect()
        };
        series.map(|(name, text)| (name.to_owned(), labels(text))).collect()
    }

    fn documented(page: &str) -> BTreeSet<Exported> {
        let rows = page.lines().filter(|line| line.starts_with("| `sluice_ingest_"));
        let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let exported = rows.map(|row| {
            let cells: Vec<_> = row.split(" |").collect();
            (words(cells[0]).swap_remove(0), words(cells[2]).into_iter().collect())
        });
        exported.collect()
    }

    #[test]
    fn the_page_lists_exactly_the_exported_metrics() {
        let metrics = with_all_series();
        let actual = exported(&metrics.encode().unwrap());
        assert_eq!(actual, documented(PAGE));
        let without_suffix = |name: &str| {
            let name = name.trim_start_matches("sluice_ingest_");
            name.trim_end_matches("_total").trim_end_matches("_bucket").to_owned()
        };
        let actual: BTreeSet<_> = actual.iter().map(|(name, _)| without_suffix(name)).collect();
        let debug = format!("{:?}", Metrics::new(1).registry);
        let registered = debug.split("Descriptor { name: \"").skip(1).filter_map(|text| text.split('"').next());
        assert_eq!(actual, registered.map(str::to_owned).collect(), "add a series for each new metric above");
    }

    #[test]
    fn a_difference_between_page_and_worker_is_detected() {
        let text = with_all_series().encode().unwrap();
        for (from, to) in [
            ("`sluice_ingest_lag`", "`sluice_ingest_delay`"),
            ("`topic`, `partition`", "`topic`"),
            ("consumed_records_total`", "consumed_records`"),
        ] {
            assert_ne!(exported(&text), documented(&PAGE.replacen(from, to, 1)), "{from}");
        }
        assert_ne!(exported(&text.replace("outcome=", "result=")), documented(PAGE));
    }

    #[test]
    fn exported_lines_have_names_labels_and_values() {
        let metrics = Metrics::new(1000);
        metrics.count_landed("t", 3, 30);
        metrics.count_retry("t", Class::Operator);
        metrics.set_lag("t", 0, 7, 0);
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
