//! The errors of the account. A difference between records is never one of them.

use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;

use crate::target::QueryError;

/// Why a part of the account is missing.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// ClickHouse returned an error.
    #[error("read the account from ClickHouse: {0}")]
    ClickHouse(#[from] clickhouse::error::Error),
    /// PostgreSQL returned an error.
    #[error("read the account from PostgreSQL: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Kafka returned an error.
    #[error("read the account from Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// Elasticsearch returned an error.
    #[error("read the account from Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// Redis returned an error.
    #[error("read the account from Redis: {0}")]
    Redis(#[from] QueryError),
    /// A store did not respond.
    #[error("read the account from {store}: no response in {seconds} s")]
    NoResponse {
        /// The store.
        store: &'static str,
        /// The time limit of the request.
        seconds: u64,
    },
}
