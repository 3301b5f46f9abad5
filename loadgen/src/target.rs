//! Clients of the stores that answer questions, opened once by each loop and shared by its probes.
//! They never decide what to ask or when, and never judge an answer.

pub(crate) mod call;
pub(crate) mod clickhouse;
pub(crate) mod connections;
pub(crate) mod elasticsearch;
mod error;
pub(crate) mod postgres;
pub mod redis;
pub(crate) mod redis_search;

use sluice_schemas::connect::Role;
use sluice_schemas::names::{Names, search_index};
use sluice_schemas::stores::Stores;

pub use error::QueryError;

/// A client for each store that answers questions.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The client for lookups, timelines and containment.
    pub(crate) postgres: postgres::Postgres,
    /// The client for contexts.
    pub(crate) cache: redis::Cluster,
    /// The client for searches of contexts.
    pub(crate) profiles: redis_search::Index,
    /// The client for searches of recent communications.
    pub(crate) recent: redis_search::Index,
    /// The client for sessions.
    pub(crate) state: redis::Cluster,
    /// The client for full-text searches.
    pub(crate) searcher: elasticsearch::Searcher,
    /// The client for dashboards.
    pub(crate) dashboards: clickhouse::Dashboards,
}

impl Targets {
    /// Connects to every store, with up to that many connections of a role to PostgreSQL.
    pub(crate) async fn connect(
        stores: &Stores,
        names: &Names,
        (role, postgres_connections): (Role, u32),
    ) -> Result<Self, QueryError> {
        let cache = redis::Cluster::cache(stores, names).await?;
        let index = |index, prefix| redis_search::Index::connect(stores, names, (index, prefix), cache.connection());
        Ok(Self {
            profiles: index(search_index::CUSTOMERS, "ctx:").await?,
            recent: index(search_index::COMMUNICATIONS, "recent:").await?,
            postgres: postgres::Postgres::connect(stores, names, role, postgres_connections).await?,
            cache,
            state: redis::Cluster::state(stores, names).await?,
            searcher: elasticsearch::Searcher::new(stores, names)?,
            dashboards: clickhouse::Dashboards::new(stores, names),
        })
    }
}
