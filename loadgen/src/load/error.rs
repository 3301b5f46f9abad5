//! Why a load did not finish. An error never undoes what was loaded before.

use std::time::Duration;

use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;

/// Maximum time without progress before a load fails; a frozen store returns no error.
pub(super) const STALL_LIMIT: Duration = Duration::from_mins(1);

/// Why a load did not finish.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL returned an error.
    #[error("load PostgreSQL: {0}; are the schemas applied, and the namespace fresh?")]
    Postgres(#[from] sqlx::Error),
    /// ClickHouse returned an error.
    #[error("load ClickHouse: {0}; are the schemas applied?")]
    ClickHouse(#[from] ::clickhouse::error::Error),
    /// Kafka returned an error.
    #[error("remove records from Kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// A request to Elasticsearch failed.
    #[error("load Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// A store acknowledged records that it does not have.
    #[error(
        "load {kind}: {loaded} were acknowledged, but the store has {found}; check that the store itself listens at its address, or \
         load it again with --reload"
    )]
    Missing {
        /// The kind of record.
        kind: &'static str,
        /// Number of acknowledged records.
        loaded: u64,
        /// Number of records in the store.
        found: u64,
    },
    /// Elasticsearch rejected documents.
    #[error("load Elasticsearch: it rejected documents; the first: {0}")]
    Refused(String),
    /// Redis returned an error.
    #[error("load Redis: {0}")]
    Redis(#[from] crate::target::QueryError),
    /// The cache of Redis removed keys while it was loaded.
    #[error(
        "load Redis: its cache evicted {0} keys meanwhile, and some of those that were loaded may be gone; raise `maxmemory` of its \
         nodes, or describe fewer customers"
    )]
    Evicted(u64),
    /// No store accepts records any more.
    #[error("load the stores: none has accepted a record for {} s; unfinished: {unfinished}; check with `sluice status` whether it still responds", STALL_LIMIT.as_secs())]
    Stalled {
        /// Stores that are not all loaded.
        unfinished: String,
    },
    /// A step that shows no progress did not end.
    #[error("load the stores: {what} took more than {} s; check with `sluice status` whether PostgreSQL and ClickHouse still respond", limit.as_secs())]
    Silent {
        /// The step.
        what: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// The load was stopped.
    #[error("load the stores: stopped")]
    Stopped,
}
