//! Checks whether the dead-letter topic keeps its letters, and reads its size limit.
//!
//! Kafka acknowledges a letter regardless of what happens to it later. A compacted topic refuses letters without a key,
//! and keeps only the last of those with the same key; one with a short retention deletes them before an operator has
//! looked. So the settings are checked at start-up and while the worker runs. It never changes them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use sluice_schemas::rebootstrap::{Rebootstrap, is_unanswered};
use tokio::sync::Mutex;
use tracing::warn;

use crate::fault::{Fault, is_injected};
use crate::kafka::topic_config;

/// Maximum age of the settings before they are read again.
pub const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Minimum retention: letters are for people, who need a working day to look at them.
const MIN_RETENTION: Duration = Duration::from_hours(24);
/// Minimum size limit: a letter without payload, headers and key, whatever the name of its topic.
const MIN_MESSAGE_BYTES: usize = 8 * 1024;

/// Why a dead-letter topic cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsuitableTopic {
    /// The topic is compacted.
    #[error(
        "use topic {topic} for dead letters: its cleanup.policy is {policy}, and compaction refuses letters without a key and \
         deletes all but the last of those with the same key; set it: kafka-configs.sh --alter --entity-type topics \
         --entity-name {topic} --add-config cleanup.policy=delete"
    )]
    Compacted {
        /// The topic.
        topic: String,
        /// The current value.
        policy: String,
    },
    /// The retention is too short.
    #[error(
        "use topic {topic} for dead letters: its retention.ms is {millis}, so letters are deleted within a day; raise it to \
         at least {}: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config \
         retention.ms=2592000000", MIN_RETENTION.as_millis()
    )]
    ShortRetention {
        /// The topic.
        topic: String,
        /// The current value.
        millis: i64,
    },
    /// The size limit is too low.
    #[error(
        "use topic {topic} for dead letters: its max.message.bytes is {bytes}, too low for any letter; raise it to at least \
         {MIN_MESSAGE_BYTES}, preferably above the largest record: kafka-configs.sh --alter --entity-type topics --entity-name \
         {topic} --add-config max.message.bytes=1114112"
    )]
    LowSizeLimit {
        /// The topic.
        topic: String,
        /// The current value.
        bytes: usize,
    },
}

/// The size limit of the dead-letter topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeLimit {
    /// Maximum bytes of a batch, as sent; `None` if Kafka did not report it.
    pub max_bytes: Option<usize>,
}

type Verdict = Result<SizeLimit, UnsuitableTopic>;

/// Checks the settings of `topic`.
fn judge(topic: &str, settings: &BTreeMap<String, String>) -> Verdict {
    let number = |name: &str| settings.get(name)?.parse::<i64>().ok();
    let topic = || topic.to_owned();
    let policy = settings.get("cleanup.policy").map_or("", String::as_str);
    if policy.split(',').any(|item| item.trim() == "compact") {
        return Err(UnsuitableTopic::Compacted { topic: topic(), policy: policy.to_owned() });
    }
    if let Some(millis) = number("retention.ms")
        .filter(|millis| (0..i64::try_from(MIN_RETENTION.as_millis()).unwrap_or(i64::MAX)).contains(millis))
    {
        return Err(UnsuitableTopic::ShortRetention { topic: topic(), millis });
    }
    let max_bytes = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
    match max_bytes {
        Some(bytes) if bytes < MIN_MESSAGE_BYTES => Err(UnsuitableTopic::LowSizeLimit { topic: topic(), bytes }),
        max_bytes => Ok(SizeLimit { max_bytes }),
    }
}

/// Reads the settings of the dead-letter topic and caches the result.
pub struct Topic {
    name: String,
    admin: AdminClient<DefaultClientContext>,
    rebootstrap: Rebootstrap,
    last: Mutex<Option<(Instant, Verdict)>>,
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Topic {
    /// Creates a `Topic` without connecting.
    pub fn new(kafka: &ClientConfig, name: &str) -> KafkaResult<Self> {
        let (admin, rebootstrap) = (kafka.create()?, Rebootstrap::new(kafka));
        Ok(Self { name: name.to_owned(), admin, rebootstrap, last: Mutex::default() })
    }

    /// Name of the topic.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the topic's size limit, from settings read at most `age` ago. If Kafka does not respond, the previous
    /// result holds.
    pub async fn check(&self, age: Duration) -> Verdict {
        let mut last = self.last.lock().await;
        if let Some((at, verdict)) = &*last
            && at.elapsed() < age
        {
            return verdict.clone();
        }
        let verdict = match topic_config::settings(&self.admin, &self.name).await {
            Ok(_) if is_injected(Fault::SkipDeadLetterTopicCheck) => Ok(SizeLimit::default()),
            Ok(settings) => judge(&self.name, &settings),
            Err(error) => {
                self.log_unreadable(&error);
                last.take().map_or(Ok(SizeLimit::default()), |(_, verdict)| verdict)
            }
        };
        *last = Some((Instant::now(), verdict.clone()));
        verdict
    }

    fn log_unreadable(&self, error: &KafkaError) {
        if is_unanswered(error) {
            self.rebootstrap.add_servers(self.admin.inner());
        }
        let is_forbidden = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed)
        );
        let remedy =
            if is_forbidden { "grant DescribeConfigs on the topic" } else { "the settings are read again later" };
        warn!(topic = self.name, %error, remedy, "the settings of the dead-letter topic cannot be read");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(settings: &[(&str, &str)]) -> Verdict {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        judge("ns.errors", &settings)
    }

    #[test]
    fn only_a_topic_that_keeps_its_letters_is_fit() {
        let accepted = Ok(SizeLimit { max_bytes: Some(1_114_112) });
        let usual = [("cleanup.policy", "delete"), ("retention.ms", "2592000000"), ("max.message.bytes", "1114112")];
        assert_eq!(verdict_of(&usual), accepted);
        assert_eq!(verdict_of(&[("retention.ms", "-1"), ("cleanup.policy", "delete")]), Ok(SizeLimit::default()));
        for policy in ["compact", "compact,delete", "delete, compact"] {
            assert!(
                matches!(verdict_of(&[("cleanup.policy", policy)]), Err(UnsuitableTopic::Compacted { .. })),
                "{policy}"
            );
        }
        assert!(matches!(
            verdict_of(&[("retention.ms", "86399999")]),
            Err(UnsuitableTopic::ShortRetention { millis: 86_399_999, .. })
        ));
        assert!(verdict_of(&[("retention.ms", "86400000")]).is_ok());
        assert!(matches!(
            verdict_of(&[("max.message.bytes", "8191")]),
            Err(UnsuitableTopic::LowSizeLimit { bytes: 8191, .. })
        ));
        assert!(verdict_of(&[("max.message.bytes", "8192")]).is_ok());
    }

    #[test]
    fn the_remedy_is_part_of_the_message() {
        let message = verdict_of(&[("cleanup.policy", "compact")]).unwrap_err().to_string();
        assert!(message.contains("--entity-name ns.errors --add-config cleanup.policy=delete"), "{message}");
    }
}
