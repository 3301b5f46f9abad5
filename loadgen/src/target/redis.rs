//! The cache cluster of Redis: its connection, and keys in the namespace.

use redis::cluster_async::ClusterConnection;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

use super::error::QueryError;

/// The cache cluster.
#[derive(Clone)]
pub struct Cache {
    connection: ClusterConnection,
    names: Names,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Cache {
    /// Connects to the cluster.
    pub async fn connect(stores: &Stores, names: &Names) -> Result<Self, QueryError> {
        Ok(Self { connection: connect::redis_cache(stores).await?, names: names.clone() })
    }

    /// A handle of the shared, multiplexed connection.
    pub(crate) fn connection(&self) -> ClusterConnection {
        self.connection.clone()
    }

    /// A key in the namespace.
    pub(crate) fn key(&self, key: &str) -> String {
        self.names.key(key)
    }
}
