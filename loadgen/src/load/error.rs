//! Why a load did not finish.

use std::time::Duration;

use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;

/// How long no store may take a record before the load gives up: a store that is frozen gives no error by itself.
pub(super) const STALL_LIMIT: Duration = Duration::from_mins(1);

/// A load that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL refused or broke.
    #[error("load PostgreSQL: {0}; are the schemas applied, and the namespace fresh?")]
    Postgres(#[from] sqlx::Error),
    /// ClickHouse refused or broke.
    #[error("load ClickHouse: {0}; are the schemas applied?")]
    ClickHouse(#[from] ::clickhouse::error::Error),
    /// Elasticsearch could not be asked.
    #[error("load Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// A store acknowledged records that it does not have.
    #[error(
        "load {kind}: {loaded} were acknowledged, but the store has {found}; does the store itself answer at its address?"
    )]
    Missing {
        /// What was loaded.
        kind: &'static str,
        /// How many were acknowledged.
        loaded: u64,
        /// How many the store has.
        found: u64,
    },
    /// Elasticsearch refused some documents.
    #[error("load Elasticsearch: it refused documents; the first: {0}")]
    Refused(String),
    /// Redis refused or broke.
    #[error("load Redis: {0}")]
    Redis(#[from] crate::target::QueryError),
    /// No store takes anything any more.
    #[error("load the stores: none has taken a record for {} s; unfinished: {unfinished}; does it still answer? `sluice status` shows it", STALL_LIMIT.as_secs())]
    Stalled {
        /// Stores that are not all loaded.
        unfinished: String,
    },
    /// Somebody wanted it to stop.
    #[error("load the stores: stopped")]
    Stopped,
}
