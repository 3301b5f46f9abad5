//! The platform's names of databases, topics, indices, keys and buckets, and the same names under a namespace, so that
//! several environments and test runs can share one set of stores. In a run's namespace, the names of indices, keys and
//! buckets contain the run's mark as well. This module never accesses a store.

use serde::{Deserialize, Serialize};

/// Topics of the platform, by their names in ADR-003.
pub mod topic {
    /// Events of communications: queued, sent, delivered and so on.
    pub const COMMUNICATION_EVENTS: &str = "communication-events";
    /// Metrics of agents.
    pub const AGENT_METRICS: &str = "agent-metrics";
    /// Interactions of customers.
    pub const CUSTOMER_INTERACTIONS: &str = "customer-interactions";
    /// The dead-letter topic of the ingest workers.
    pub const CLICKHOUSE_ERRORS: &str = "clickhouse-errors";
}

/// Search indexes of the Redis cache. Each master has its own part, under a name of its own.
pub mod search_index {
    /// The cached contexts of customers.
    pub const CUSTOMERS: &str = "idx:customers";
    /// The newest communications.
    pub const COMMUNICATIONS: &str = "idx:communications";
}

/// Distinguishes the objects of a run's namespace from foreign ones: twelve random hexadecimal digits, drawn when the
/// namespace is created and shared by every later run in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(String);

impl Mark {
    const DIGITS: usize = 12;

    /// A new random mark.
    pub(crate) fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string()[..Self::DIGITS].to_owned())
    }

    /// Parses a mark.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_mark = text.len() == Self::DIGITS && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        is_mark.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Turns the platform's names into those of one namespace. There is no `Default`: a namespace that fails to parse must
/// never become the platform's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Names {
    namespace: String,
    mark: Option<Mark>,
}

/// A namespace that the stores would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a namespace: write 1 to 24 lowercase letters, digits or underscores that start with a letter")]
pub struct BadNamespace(pub String);

impl TryFrom<String> for Names {
    type Error = BadNamespace;

    fn try_from(namespace: String) -> Result<Self, BadNamespace> {
        Self::new(&namespace)
    }
}

impl From<Names> for String {
    fn from(names: Names) -> Self {
        names.namespace
    }
}

impl Names {
    /// The platform's own names.
    pub const fn platform() -> Self {
        Self { namespace: String::new(), mark: None }
    }

    /// Names under `namespace`; empty means the platform's own.
    pub fn new(namespace: &str) -> Result<Self, BadNamespace> {
        let fits = namespace.len() <= 24
            && namespace.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !namespace.starts_with(|c: char| !c.is_ascii_lowercase());
        if fits {
            Ok(Self { namespace: namespace.to_owned(), mark: None })
        } else {
            Err(BadNamespace(namespace.to_owned()))
        }
    }

    /// The same namespace with a run's mark, for the names of its indices, keys and buckets.
    pub(crate) fn with_mark(&self, mark: Mark) -> Self {
        Self { mark: Some(mark), ..self.clone() }
    }

    /// The same namespace without a mark.
    pub(crate) fn without_mark(&self) -> Self {
        Self { mark: None, ..self.clone() }
    }

    /// The mark of the run's namespace; `None` if the namespace was not created for runs.
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// The namespace; empty for the platform's own names.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Database name in PostgreSQL and in ClickHouse: `sluice`, or `sluice_NAMESPACE`.
    pub fn database(&self) -> String {
        if self.namespace.is_empty() { "sluice".to_owned() } else { format!("sluice_{}", self.namespace) }
    }

    /// A Kafka topic: `NAMESPACE.topic`.
    pub fn topic(&self, topic: &str) -> String {
        self.prefixed(topic, '.')
    }

    /// A Kafka consumer group: `NAMESPACE.group`.
    pub fn group(&self, group: &str) -> String {
        self.prefixed(group, '.')
    }

    /// An Elasticsearch index, alias, template or policy: `NAMESPACE-name`, or `NAMESPACE-MARK-name`.
    pub fn index(&self, index: &str) -> String {
        self.marked_name(index, '-')
    }

    /// A Redis key: `NAMESPACE:key`, or `NAMESPACE:MARK:key`.
    pub fn key(&self, key: &str) -> String {
        self.marked_name(key, ':')
    }

    /// A bucket: `NAMESPACE-bucket` or `NAMESPACE-MARK-bucket`, with `-` for `_`, which bucket names cannot contain.
    pub fn bucket(&self, bucket: &str) -> String {
        self.marked_name(bucket, '-').replace('_', "-")
    }

    fn marked_name(&self, name: &str, separator: char) -> String {
        match &self.mark {
            Some(mark) => self.prefixed(&format!("{}{separator}{name}", mark.as_str()), separator),
            None => self.prefixed(name, separator),
        }
    }

    fn prefixed(&self, name: &str, separator: char) -> String {
        if self.namespace.is_empty() { name.to_owned() } else { format!("{}{separator}{name}", self.namespace) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_namespace_yields_the_platforms_names() {
        let names = Names::new("").unwrap();
        assert_eq!(names.topic(topic::AGENT_METRICS), "agent-metrics");
        assert_eq!(names.database(), "sluice");
    }

    #[test]
    fn a_namespace_prefixes_every_name_in_the_stores_style() {
        let names = Names::new("run_7").unwrap();
        assert_eq!(names.topic("agent-metrics"), "run_7.agent-metrics");
        assert_eq!(names.database(), "sluice_run_7");
        assert_eq!(names.index("communications-2026.11"), "run_7-communications-2026.11");
        assert_eq!(names.key("ctx:1"), "run_7:ctx:1");
        assert_eq!(names.bucket("templates"), "run-7-templates");
    }

    #[test]
    fn a_runs_mark_is_part_of_the_names_of_its_objects() {
        let names = Names::new("run_7").unwrap().with_mark(Mark::parse("0123456789ab").unwrap());
        assert_eq!(names.index("communications-2026.11"), "run_7-0123456789ab-communications-2026.11");
        assert_eq!(names.key("ctx:1"), "run_7:0123456789ab:ctx:1");
        assert_eq!(names.bucket("templates"), "run-7-0123456789ab-templates");
        // A run's worker is another process, which has the namespace but not the mark.
        assert_eq!((names.topic("t").as_str(), names.database().as_str()), ("run_7.t", "sluice_run_7"));
        assert_eq!(Mark::parse(Mark::new().as_str()).map(|mark| mark.as_str().len()), Some(12));
        assert_eq!(Mark::parse("0123456789aX"), None);
    }

    #[test]
    fn an_invalid_namespace_is_refused() {
        for bad in ["Upper", "7up", "a-b", "a.b", "_x", &"x".repeat(25)] {
            assert!(Names::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_value::<Names>(bad.into()).is_err(), "{bad}");
        }
    }
}
