//! Why a store returned no usable answer. The error does not say whether the question is asked again.

use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;

/// A question without an answer, or with one that can't be an answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The search indexes of Redis could not be read.
    #[error(transparent)]
    Schema(#[from] sluice_schemas::SchemaError),
    /// The client could not start.
    #[error("start a client: {0}")]
    Runtime(std::io::Error),
    /// PostgreSQL returned an error.
    #[error("query PostgreSQL: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Redis returned an error.
    #[error("query Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Elasticsearch returned an error.
    #[error("query Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// ClickHouse returned an error.
    #[error("query ClickHouse: {0}")]
    ClickHouse(#[from] clickhouse::error::Error),
    /// The store returned something that is not an answer.
    #[error("read the response of {store}: {what}")]
    Unreadable {
        /// The store.
        store: &'static str,
        /// What it returned, without data.
        what: &'static str,
    },
    /// The store returned a row that the question excludes.
    #[error("read the response of {0}: a row that the question excludes")]
    ForeignRow(&'static str),
}

impl QueryError {
    /// Whether the store returned a wrong answer.
    pub fn is_wrong_answer(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::ForeignRow(_) => true,
            Self::Connect(_)
            | Self::Schema(_)
            | Self::Runtime(_)
            | Self::Postgres(_)
            | Self::Redis(_)
            | Self::Elasticsearch(_)
            | Self::ClickHouse(_) => false,
        }
    }
}
