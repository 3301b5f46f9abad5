//! Clients of the stores that answer questions, opened once by each loop and shared by its probes.
//! They never decide what to ask or when, and never judge an answer.

pub(crate) mod clickhouse;
pub(crate) mod elasticsearch;
mod error;
pub(crate) mod postgres;
pub mod redis;
pub(crate) mod waited;

use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

pub use error::QueryError;

/// A client for each store that answers questions.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    /// The client for lookups, timelines and containment.
    pub(crate) postgres: postgres::Postgres,
    /// The client for contexts.
    pub(crate) cache: redis::Cluster,
    /// The client for sessions.
    pub(crate) state: redis::Cluster,
    /// The client for full-text searches.
    pub(crate) searcher: elasticsearch::Searcher,
    /// The client for dashboards.
    pub(crate) dashboards: clickhouse::Dashboards,
}

impl Targets {
    /// Connects to every store, with up to that many connections to PostgreSQL.
    pub(crate) async fn connect(stores: &Stores, names: &Names, postgres_connections: u32) -> Result<Self, QueryError> {
        Ok(Self {
            postgres: postgres::Postgres::connect(stores, names, postgres_connections).await?,
            cache: redis::Cluster::cache(stores, names).await?,
            state: redis::Cluster::state(stores, names).await?,
            searcher: elasticsearch::Searcher::new(stores, names)?,
            dashboards: clickhouse::Dashboards::new(stores, names),
        })
    }
}
