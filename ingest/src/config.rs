//! The operator's settings: the `[ingest]` section of `sluice.toml`, read with serde and checked.
//! The three topics of ADR-003 are the default pipelines, so a new user need not define any. It never opens a
//! connection.

mod breaker;
mod error;
mod kafka;
pub(crate) mod pipeline;
mod retry;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use sluice_schemas::connect::kafka_config;
use sluice_schemas::names::{Names, topic};
use sluice_schemas::stores::Stores;

pub use breaker::Breaker;
pub use error::SettingsError;
use error::{MAX_DURATION, require};
pub use pipeline::{Limits, Pipeline};
pub use retry::Retry;

/// All settings of an ingest worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Consumer group; prefixed with the namespace.
    pub group: String,
    /// Address of metrics and health checks.
    pub listen: SocketAddr,
    /// Memory for records in flight, including librdkafka's queues.
    pub memory_budget: ByteSize,
    /// Topic of records that cannot land.
    pub dead_letter_topic: String,
    /// The group's assignment protocol; the same for all of its workers.
    pub assignment: Protocol,
    /// Maximum number of concurrent INSERTs.
    pub inserts_in_flight: usize,
    /// How long to wait for a response before an INSERT counts as failed.
    #[serde(with = "humantime_serde")]
    pub insert_timeout: Duration,
    /// Timeout of one statement of an aggregate rebuild, after which it is killed.
    #[serde(with = "humantime_serde")]
    pub rebuild_timeout: Duration,
    /// How long a shutdown may write and commit the batches in flight.
    #[serde(with = "humantime_serde")]
    pub drain_deadline: Duration,
    /// How long a start waits for Kafka and ClickHouse to respond.
    #[serde(with = "humantime_serde")]
    pub start_deadline: Duration,
    /// How long a rebalance waits for the INSERTs of revoked partitions.
    #[serde(with = "humantime_serde")]
    pub revoke_deadline: Duration,
    /// Peak INSERTs per second into one table, from all workers and other clients together: determines how soon a
    /// deduplication token may be forgotten.
    pub peak_inserts_per_second: u32,
    /// When a failed INSERT is retried.
    pub retry: Retry,
    /// When poison stops a partition.
    pub breaker: Breaker,
    /// Additional settings of the Kafka clients, such as `security.protocol`.
    #[serde(serialize_with = "kafka::without_secrets")]
    pub kafka: BTreeMap<String, String>,
    /// The pipelines, by topic (without namespace).
    pub pipelines: BTreeMap<String, Pipeline>,
}

/// How a consumer group redistributes its partitions when a worker joins or leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// All workers release all partitions first (`require`).
    #[default]
    Eager,
    /// Only the partitions that move are released (`cooperative-sticky`).
    Cooperative,
}

impl Protocol {
    /// The assignor's name in Kafka clients.
    pub const fn assignor(self) -> &'static str {
        match self {
            Self::Eager => "range",
            Self::Cooperative => "cooperative-sticky",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group: "clickhouse-ingest".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 21_050)),
            memory_budget: ByteSize::mib(256),
            dead_letter_topic: topic::CLICKHOUSE_ERRORS.to_owned(),
            assignment: Protocol::default(),
            inserts_in_flight: 4,
            insert_timeout: Duration::from_mins(1),
            rebuild_timeout: Duration::from_hours(1),
            drain_deadline: Duration::from_secs(25),
            start_deadline: Duration::from_secs(30),
            revoke_deadline: Duration::from_secs(10),
            peak_inserts_per_second: 40,
            retry: Retry::default(),
            breaker: Breaker::default(),
            kafka: BTreeMap::new(),
            pipelines: [
                (topic::COMMUNICATION_EVENTS, "communication_events"),
                (topic::AGENT_METRICS, "agent_metrics"),
                (topic::CUSTOMER_INTERACTIONS, "customer_interactions"),
            ]
            .map(|(topic, table)| (topic.to_owned(), Pipeline { table: table.to_owned(), ..Pipeline::default() }))
            .into(),
        }
    }
}

/// Eighths of the memory budget that batches may use.
const BATCH_EIGHTHS: u64 = 5;
/// Maximum number of records that the breaker considers.
const MAX_WINDOW: usize = 100_000;

/// Maximum time for which the consume thread may be blocked.
const HUNG_AFTER: Duration = Duration::from_mins(1);
/// librdkafka's own default of `session.timeout.ms`.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);

impl Settings {
    /// The pipelines that run, by topic.
    pub fn enabled(&self) -> impl Iterator<Item = (&String, &Pipeline)> {
        self.pipelines.iter().filter(|(_, pipeline)| pipeline.enabled)
    }

    /// The pipeline of a topic with its namespace, enabled or not, and the topic's name without it.
    pub fn pipeline_of(&self, names: &Names, topic: &str) -> Option<(&str, &Pipeline)> {
        let pipeline = self.pipelines.iter().find(|(name, _)| names.topic(name) == topic);
        pipeline.map(|(name, pipeline)| (name.as_str(), pipeline))
    }

    /// The topics (with their namespace) of one pipeline, or of all enabled ones, each with its table; `None` if no
    /// pipeline has the given topic.
    pub(crate) fn tables(&self, names: &Names, topic: Option<&str>) -> Option<Vec<(String, String)>> {
        let Some(topic) = topic else {
            return Some(self.enabled().map(|(name, pipeline)| (names.topic(name), pipeline.table.clone())).collect());
        };
        self.pipeline_of(names, topic).map(|(_, pipeline)| vec![(topic.to_owned(), pipeline.table.clone())])
    }

    /// The base configuration of every Kafka client: the brokers and the operator's additional settings.
    pub(crate) fn client(&self, stores: &Stores) -> ClientConfig {
        let mut client = kafka_config(stores);
        client.extend(self.kafka.clone());
        client
    }

    /// How long the group waits for a heartbeat of a worker before it reassigns its partitions.
    pub fn session_timeout(&self) -> Duration {
        let set = self.kafka.get("session.timeout.ms").and_then(|millis| millis.parse().ok());
        set.map_or(SESSION_TIMEOUT, Duration::from_millis)
    }

    /// How long the consume thread may be blocked before the worker counts as hung: one minute, or less if the group
    /// reassigns its partitions sooner.
    pub fn hung_after(&self) -> Duration {
        let set = self.kafka.get("max.poll.interval.ms").and_then(|millis| millis.parse().ok());
        set.map_or(HUNG_AFTER, |millis| Duration::from_millis(millis).min(HUNG_AFTER))
    }

    /// How long a partition is certain to be assigned to this worker after Kafka has confirmed it: two thirds of the
    /// session timeout.
    pub fn lease(&self) -> Duration {
        self.session_timeout() * 2 / 3
    }

    /// Bytes of the memory budget for batches: enough to write one of 100,000 rows while the others fill. The remainder
    /// is for librdkafka's queues and everything else.
    pub fn batch_bytes(&self) -> usize {
        usize::try_from(self.memory_budget.0 / 8 * BATCH_EIGHTHS).unwrap_or(usize::MAX)
    }

    /// Bytes of the memory budget for records that librdkafka has fetched and ingest has not consumed.
    pub fn queue_bytes(&self) -> u64 {
        self.memory_budget.0 / 8
    }

    /// KiB of the memory budget for dead letters queued in their producer.
    pub fn dead_letter_kib(&self) -> u64 {
        self.memory_budget.0 / 16 / 1024
    }

    /// Number of tokens that a table must remember: twice the INSERTs possible between an attempt and the next owner's
    /// retry.
    pub fn tokens_needed(&self) -> u64 {
        2 * u64::from(self.peak_inserts_per_second) * (self.session_timeout() + self.insert_timeout).as_secs().max(1)
    }

    /// Checks what serde cannot.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !self.pipelines.values().any(|pipeline| pipeline.enabled) {
            return Err(SettingsError::NoPipeline);
        }
        kafka::check(&self.kafka)?;
        require(!self.group.is_empty(), "group", "the name of a consumer group")?;
        require(self.memory_budget >= ByteSize::mib(32), "memory_budget", "32 MiB or more")?;
        require((1..=64).contains(&self.inserts_in_flight), "inserts_in_flight", "between 1 and 64")?;
        let timed = [
            ("insert_timeout", self.insert_timeout),
            ("rebuild_timeout", self.rebuild_timeout),
            ("drain_deadline", self.drain_deadline),
            ("start_deadline", self.start_deadline),
            ("revoke_deadline", self.revoke_deadline),
            ("retry.longest_wait", self.retry.longest_wait),
            ("retry.operator_wait", self.retry.operator_wait),
        ];
        timed.iter().try_for_each(|(name, time)| require(*time <= MAX_DURATION, name, "at most a day"))?;
        require(!self.insert_timeout.is_zero(), "insert_timeout", "greater than zero")?;
        require(self.rebuild_timeout >= Duration::from_secs(1), "rebuild_timeout", "a second or longer")?;
        require(self.peak_inserts_per_second > 0, "peak_inserts_per_second", "one or more")?;
        require(!self.retry.first_wait.is_zero(), "retry.first_wait", "greater than zero")?;
        let is_shorter = self.retry.first_wait <= self.retry.longest_wait;
        require(is_shorter, "retry.first_wait", "at most ingest.retry.longest_wait")?;
        let Breaker { window, percent, rejected, consecutive, .. } = self.breaker;
        require((1..=MAX_WINDOW).contains(&window), "breaker.window", "between 1 and 100,000")?;
        require((1..=99).contains(&percent), "breaker.percent", "between 1 and 99")?;
        require((1..=window).contains(&rejected), "breaker.rejected", "between 1 and ingest.breaker.window")?;
        require((1..=MAX_WINDOW).contains(&consecutive), "breaker.consecutive", "between 1 and 100,000")?;
        let is_consumed = self.enabled().any(|(topic, _)| *topic == self.dead_letter_topic);
        require(!is_consumed, "dead_letter_topic", "a topic that no pipeline consumes")?;
        require(is_topic(&self.dead_letter_topic), "dead_letter_topic", TOPIC)?;
        for (topic, _) in self.enabled() {
            require(is_topic(topic), &format!("pipelines.{topic:?}"), TOPIC)?;
        }
        self.enabled().try_for_each(|(topic, pipeline)| pipeline.check(topic, self.memory_budget))
    }
}

/// What Kafka accepts as the name of a topic.
const TOPIC: &str = "the name of a topic: at most 249 letters, digits, dots, underscores and hyphens";

fn is_topic(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name.bytes().all(is_known) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_adr_and_pass_the_check() {
        let settings = Settings::default();
        assert_eq!(settings.check(), Ok(()));
        let events = &settings.pipelines["communication-events"];
        assert_eq!((events.max_rows, events.max_age), (10_000, Duration::from_secs(30)));
        assert_eq!((events.backlog_rows, events.backlog_bytes), (100_000, ByteSize::mib(32)));
        assert_eq!(settings.memory_budget, ByteSize::mib(256));
        assert_eq!(settings.pipelines.len(), 3);
    }

    #[test]
    fn invalid_settings_are_rejected_by_name() {
        let error_of = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        insta::assert_snapshot!(error_of(|s| s.pipelines.clear()), @"use ingest.pipelines: none is enabled, so there is nothing to do; enable one");
        insta::assert_snapshot!(error_of(|s| { s.kafka.insert("enable.auto.commit".into(), "true".into()); }), @r#"use ingest.kafka."enable.auto.commit": ingest sets it itself; remove it"#);
        insta::assert_snapshot!(error_of(|s| { s.kafka.insert("sesion.timeout.ms".into(), "6000".into()); }), @r#"use ingest.kafka."sesion.timeout.ms": librdkafka has no such setting or rejects this value; see its CONFIGURATION.md"#);
        insta::assert_snapshot!(error_of(|s| s.memory_budget = ByteSize::mib(1)), @"use ingest.memory_budget: it must be 32 MiB or more");
        insta::assert_snapshot!(error_of(|s| s.breaker.percent = 100), @"use ingest.breaker.percent: it must be between 1 and 99");
        insta::assert_snapshot!(error_of(|s| s.breaker.rejected = 1001), @"use ingest.breaker.rejected: it must be between 1 and ingest.breaker.window");
        insta::assert_snapshot!(error_of(|s| { s.pipelines.insert("x".into(), Pipeline::default()); }), @"use ingest.pipelines.x.table: it must be the name of the table that the topic lands in");
        insta::assert_snapshot!(error_of(|s| s.dead_letter_topic = "agent-metrics".into()), @"use ingest.dead_letter_topic: it must be a topic that no pipeline consumes");
        insta::assert_snapshot!(error_of(|s| s.pipelines.get_mut("agent-metrics").unwrap().tenant = "a..b".into()), @"use ingest.pipelines.agent-metrics.tenant: it must be a name, or names separated by dots");
        insta::assert_snapshot!(error_of(|s| s.pipelines.get_mut("agent-metrics").unwrap().backlog_rows = 2_000_000), @"use ingest.pipelines.agent-metrics.backlog_rows: it must be at most 1,000,000");
        insta::assert_snapshot!(error_of(|s| s.pipelines.get_mut("agent-metrics").unwrap().backlog_bytes = ByteSize::gib(2)), @"use ingest.pipelines.agent-metrics.backlog_bytes: it must be at most 1 GiB");
        insta::assert_snapshot!(error_of(|s| s.pipelines.get_mut("agent-metrics").unwrap().max_rows = 0), @"use ingest.pipelines.agent-metrics.max_rows: it must be between 1 and 1,000,000");
        for path in ["b..c", "", ".b", "b."] {
            let mut settings = Settings::default();
            settings.pipelines.get_mut("agent-metrics").unwrap().columns.insert("a".into(), path.into());
            let message = settings.check().unwrap_err().to_string();
            assert_eq!(
                message,
                "use ingest.pipelines.agent-metrics.columns.a: it must be a field's name, or names separated by dots"
            );
        }
    }

    #[test]
    fn sizes_beyond_a_batchs_counters_are_rejected() {
        let error_of = |change: fn(&mut Pipeline)| {
            let mut settings = Settings { memory_budget: ByteSize::gib(64), ..Settings::default() };
            change(settings.pipelines.get_mut("agent-metrics").unwrap());
            settings.check().unwrap_err().to_string()
        };
        insta::assert_snapshot!(error_of(|pipeline| pipeline.max_bytes = ByteSize::gib(5)), @"use ingest.pipelines.agent-metrics.max_bytes: it must be at most 1 GiB");
        insta::assert_snapshot!(error_of(|pipeline| pipeline.limits.record = ByteSize::gib(1)), @"use ingest.pipelines.agent-metrics.limits.record: it must be at most 128 MiB");
    }

    #[test]
    fn the_session_timeout_has_only_decimal_digits() {
        let with = |value: &str| {
            let kafka = [("session.timeout.ms".to_owned(), value.to_owned())].into();
            Settings { kafka, ..Settings::default() }
        };
        assert_eq!((with("6000").check(), with("6000").session_timeout()), (Ok(()), Duration::from_secs(6)));
        // librdkafka reads both as 6,000.
        for value in ["0x1770", " 6000"] {
            let error = with(value).check().unwrap_err();
            assert_eq!(error, SettingsError::NoNumber("session.timeout.ms".to_owned()), "{value}");
        }
    }

    #[test]
    fn a_kafka_password_is_never_printed() {
        let mut settings = Settings::default();
        settings.kafka.insert("sasl.password".to_owned(), "hunter2".to_owned());
        settings.kafka.insert("sasl.username".to_owned(), "me".to_owned());
        let printed = serde_json::to_string(&settings).unwrap();
        assert!(printed.contains(r#""sasl.username":"me""#) && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn unknown_keys_and_wrong_units_are_rejected() {
        assert!(serde_json::from_str::<Settings>(r#"{"grup": "x"}"#).is_err());
        assert!(serde_json::from_str::<Settings>(r#"{"drain_deadline": "25"}"#).is_err());
        assert!(serde_json::from_str::<Settings>(r#"{"memory_budget": "1 elephant"}"#).is_err());
        assert!(serde_json::from_str::<Settings>(r#"{"drain_deadline": "25s"}"#).is_ok());
    }
}
