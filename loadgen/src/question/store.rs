//! The stores that answer questions, by the names that scenarios and reports use. Kafka is not one of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A store that answers questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// PostgreSQL, under row-level security.
    Postgres,
    /// The Redis clusters: cache and state.
    Redis,
    /// Elasticsearch.
    Elasticsearch,
    /// ClickHouse.
    Clickhouse,
}

impl Store {
    /// Every store, in the order of reports.
    pub const ALL: &'static [Self] = &[Self::Postgres, Self::Redis, Self::Elasticsearch, Self::Clickhouse];

    /// The name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Elasticsearch => "elasticsearch",
            Self::Clickhouse => "clickhouse",
        }
    }

    /// The store of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|store| store.as_str() == name)
    }
}

impl From<Store> for sluice_schemas::Store {
    fn from(store: Store) -> Self {
        match store {
            Store::Postgres => Self::Postgres,
            Store::Redis => Self::Redis,
            Store::Elasticsearch => Self::Elasticsearch,
            Store::Clickhouse => Self::ClickHouse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_scenarios_are_the_names_in_json() {
        for &store in Store::ALL {
            assert_eq!(serde_json::to_value(store).unwrap(), store.as_str());
        }
    }
}
