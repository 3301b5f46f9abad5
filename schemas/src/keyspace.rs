//! The Redis key spaces of `redis/keyspaces.toml`: which cluster a key lives in and how long.
//! Comes from the embedded file alone; never touches a store.

use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;

const FILE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/redis/keyspaces.toml"));

/// Which of the two Redis clusters.
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
    /// First word of its keys: `session`, `ctx`, `rate`, `agent` or `metric`.
    pub name: String,
    /// Form of a key, without the namespace's prefix.
    pub pattern: String,
    /// Where it lives.
    pub cluster: Cluster,
    /// How long a value lives; for time series, how long a sample does.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keyspace: Vec<Keyspace>,
}

/// How long a cached customer context (`ctx:{customer_id}`) lives.
pub static CONTEXT_TTL: LazyLock<Duration> =
    LazyLock::new(|| find("ctx").expect("the file is part of the binary, and a test finds it there").ttl);

static KEYSPACES: LazyLock<Vec<Keyspace>> = LazyLock::new(|| {
    let file: File = toml::from_str(FILE).expect("the file is part of the binary, and a test parses it");
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
    fn the_adrs_key_spaces_have_their_times_and_their_cluster() {
        let told = |name: &str| find(name).map(|space| (space.cluster, space.ttl.as_secs(), space.pattern.as_str()));
        assert_eq!(told("session"), Some((Cluster::State, 86_400, "session:{user_id}")));
        assert_eq!(told("ctx"), Some((Cluster::Cache, 3_600, "ctx:{customer_id}")));
        assert_eq!(told("rate"), Some((Cluster::State, 60, "rate:{service}:{key}")));
        assert_eq!(told("agent"), Some((Cluster::State, 300, "agent:{agent_id}:state")));
        assert_eq!(told("metric").map(|told| told.1), Some(86_400));
        assert_eq!(CONTEXT_TTL.as_secs(), 3_600);
    }

    #[test]
    fn every_pattern_starts_with_its_name() {
        assert!(KEYSPACES.iter().all(|space| space.pattern.starts_with(&format!("{}:", space.name))));
    }
}
