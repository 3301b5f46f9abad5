//! Limits that a checked scenario sets its own clients: connections, and time-outs of answers. It enforces none of
//! them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::question::Store;

/// Maximum numbers of connections. Clients of other stores open as many as they need, or share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// To PostgreSQL, for questions.
    pub postgres: u32,
    /// To PostgreSQL, for writes: as many transactions are in flight at most.
    #[serde(default = "default_postgres_writers")]
    pub postgres_writers: u32,
}

const fn default_postgres_writers() -> u32 {
    32
}

impl Default for Connections {
    fn default() -> Self {
        Self { postgres: 32, postgres_writers: default_postgres_writers() }
    }
}

/// Time-outs of answers, counted from the intended start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeOuts {
    /// PostgreSQL.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub postgres: Duration,
    /// Redis, including PostgreSQL behind it.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub redis: Duration,
    /// Elasticsearch.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub elasticsearch: Duration,
    /// ClickHouse.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub clickhouse: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        let most = Duration::from_secs(2);
        Self { postgres: most, redis: most, elasticsearch: most, clickhouse: most * 5 }
    }
}

impl TimeOuts {
    /// The time-out of a store.
    pub fn for_store(&self, store: Store) -> Duration {
        match store {
            Store::Postgres => self.postgres,
            Store::Redis => self.redis,
            Store::Elasticsearch => self.elasticsearch,
            Store::Clickhouse => self.clickhouse,
        }
    }

    /// The time-out of a store, to be changed.
    pub(super) fn for_store_mut(&mut self, store: Store) -> &mut Duration {
        match store {
            Store::Postgres => &mut self.postgres,
            Store::Redis => &mut self.redis,
            Store::Elasticsearch => &mut self.elasticsearch,
            Store::Clickhouse => &mut self.clickhouse,
        }
    }
}
