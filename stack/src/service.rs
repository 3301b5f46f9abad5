//! The services of the local stack by name. Holds no behaviour; [`crate::store`] adds it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One store of the local stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// PostgreSQL.
    Postgres,
    /// Kafka, one node in KRaft mode.
    Kafka,
    /// Kafka Connect with the Debezium plugin.
    Connect,
    /// ClickHouse.
    #[serde(rename = "clickhouse")]
    ClickHouse,
    /// Elasticsearch, one node.
    Elasticsearch,
    /// The Redis cluster of six for what may be evicted.
    RedisCache,
    /// The Redis cluster of three for what may not.
    RedisState,
    /// The S3 server; started only when it is asked for by name, since it is built from source.
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

    /// What starts when no service is named: all but S3.
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

/// A name that no service has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no store is called `{0}`; there are postgres, kafka, connect, clickhouse, elasticsearch, redis-cache, redis-state and s3"
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
    fn names_read_back_and_an_unknown_one_lists_what_there_is() {
        for service in Service::ALL {
            assert_eq!(service.name().parse(), Ok(*service));
            assert_eq!(serde_json::to_value(service).unwrap(), service.name());
        }
        let error = "redis".parse::<Service>().unwrap_err().to_string();
        assert!(error.contains("`redis`") && error.contains("redis-cache"), "{error}");
    }
}
