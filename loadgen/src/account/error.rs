//! Why a part of the account is missing.

use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;

use crate::target::QueryError;

/// An account that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// ClickHouse refused or broke.
    #[error("read the account from ClickHouse: {0}")]
    ClickHouse(#[from] clickhouse::error::Error),
    /// PostgreSQL refused or broke.
    #[error("read the account from PostgreSQL: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Kafka refused or broke.
    #[error("read the account from Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// Elasticsearch refused or broke.
    #[error("read the account from Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// Redis refused or broke.
    #[error("read the account from Redis: {0}")]
    Redis(#[from] QueryError),
}
