//! The services of the local stack by name. Their behavior is in [`crate::store`]. Nothing is started here.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A service of the local stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// PostgreSQL.
    Postgres,
    /// Kafka: one node in KRaft mode.
    Kafka,
    /// Kafka Connect with the Debezium plugin.
    Connect,
    /// ClickHouse.
    #[serde(rename = "clickhouse")]
    ClickHouse,
    /// Elasticsearch: one node.
    Elasticsearch,
    /// The Redis cache cluster: six nodes, which may evict.
    RedisCache,
    /// The Redis state cluster: three nodes, which never evict.
    RedisState,
    /// The S3 server; started only if named, since it is built from source.
    S3,
}

impl Service {
    /// Every service.
    pub const ALL: &[Self] = &[
        Self::Postgres,
        Self::Kafka,
        Self::Connect,
        Self::ClickHouse,
        Self::Elasticsearch,
        Self::RedisCache,
        Self::RedisState,
        Self::S3,
    ];

    /// The services that start if none is named: all but S3.
    pub const DEFAULT: &[Self] = &[
        Self::Postgres,
        Self::Kafka,
        Self::Connect,
        Self::ClickHouse,
        Self::Elasticsearch,
        Self::RedisCache,
        Self::RedisState,
    ];

    /// The name on the command line, in logs and in `docker-compose.yml`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Connect => "connect",
            Self::ClickHouse => "clickhouse",
            Self::Elasticsearch => "elasticsearch",
            Self::RedisCache => "redis-cache",
            Self::RedisState => "redis-state",
            Self::S3 => "s3",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No service has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no store `{0}`; choose from postgres, kafka, connect, clickhouse, elasticsearch, redis-cache, redis-state and s3"
)]
pub struct UnknownService(String);

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(name: &str) -> Result<Self, UnknownService> {
        Self::ALL.iter().copied().find(|s| s.name() == name).ok_or_else(|| UnknownService(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_and_an_unknown_one_lists_the_choices() {
        for service in Service::ALL {
            assert_eq!(service.name().parse(), Ok(*service));
            assert_eq!(serde_json::to_value(service).unwrap(), service.name());
        }
        let error = "redis".parse::<Service>().unwrap_err().to_string();
        assert!(error.contains("`redis`") && error.contains("redis-cache"), "{error}");
    }
}
