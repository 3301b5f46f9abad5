//! The Redis key spaces of `redis/keyspaces.toml`: cluster and TTL of each. This module never accesses a store.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/redis/keyspaces.toml"));

/// One of the two Redis clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cluster {
    /// May evict (allkeys-lru).
    Cache,
    /// Never evicts (noeviction).
    State,
}

/// A key space.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyspace {
    /// First part of its keys: `session`, `ctx`, `rate`, `agent`, `metric` or `recent`.
    pub name: String,
    /// Pattern of a key, without the namespace's prefix.
    pub pattern: String,
    /// The cluster that holds it.
    pub cluster: Cluster,
    /// TTL of a value; for time series, the retention of a sample.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keyspace: Vec<Keyspace>,
}

/// TTL of a cached customer context (`ctx:{customer_id}`).
pub static CONTEXT_TTL: LazyLock<Duration> =
    LazyLock::new(|| find("ctx").expect("the file is embedded, and a test looks it up").ttl);

/// TTL of a copy of a recent communication (`recent:{communication_id}`).
pub static RECENT_TTL: LazyLock<Duration> =
    LazyLock::new(|| find("recent").expect("the file is embedded, and a test looks it up").ttl);

/// Retention of the samples of a time series (`metric:{tenant_id}:{name}`).
pub static METRIC_RETENTION: LazyLock<Duration> =
    LazyLock::new(|| find("metric").expect("the file is embedded, and a test looks it up").ttl);

/// TTL of an agent's state (`agent:{agent_id}:state`).
pub static AGENT_TTL: LazyLock<Duration> =
    LazyLock::new(|| find("agent").expect("the file is embedded, and a test looks it up").ttl);

/// TTL of a counter of requests (`rate:{service}:{key}`).
pub static RATE_TTL: LazyLock<Duration> =
    LazyLock::new(|| find("rate").expect("the file is embedded, and a test looks it up").ttl);

/// TTL of a user's session (`session:{user_id}`); each read of it starts anew.
pub static SESSION_TTL: LazyLock<Duration> =
    LazyLock::new(|| find("session").expect("the file is embedded, and a test looks it up").ttl);

static KEYSPACES: LazyLock<Vec<Keyspace>> = LazyLock::new(|| {
    let file: File = toml::from_str(FILE).expect("the file is embedded, and a test parses it");
    file.keyspace
});

/// The key space of that name.
pub fn find(name: &str) -> Option<&'static Keyspace> {
    KEYSPACES.iter().find(|keyspace| keyspace.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adrs_key_spaces_have_their_cluster_and_ttl() {
        let entry = |name: &str| find(name).map(|space| (space.cluster, space.ttl.as_secs(), space.pattern.as_str()));
        assert_eq!(entry("session"), Some((Cluster::State, 86_400, "session:{user_id}")));
        assert_eq!(entry("ctx"), Some((Cluster::Cache, 3_600, "ctx:{customer_id}")));
        assert_eq!(entry("rate"), Some((Cluster::State, 60, "rate:{service}:{key}")));
        assert_eq!(entry("agent"), Some((Cluster::State, 300, "agent:{agent_id}:state")));
        assert_eq!(entry("metric").map(|entry| entry.1), Some(86_400));
        assert_eq!(entry("recent"), Some((Cluster::Cache, 86_400, "recent:{communication_id}")));
        assert_eq!(CONTEXT_TTL.as_secs(), 3_600);
    }

    #[test]
    fn every_pattern_starts_with_its_name() {
        assert!(KEYSPACES.iter().all(|space| space.pattern.starts_with(&format!("{}:", space.name))));
    }
}
