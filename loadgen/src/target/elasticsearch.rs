//! Elasticsearch as searches query it: one tenant's communications, by its routing.
//! Also names the monthly indices of communications. The client never writes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sluice_schemas::elastic::Elastic;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::error::QueryError;

/// Without it, a search whose shards failed in part succeeds with fewer hits, which looks like a wrong answer.
pub(crate) const WHOLE: &str = "allow_partial_search_results=false";

/// Longer than any answer is awaited: whoever asks ends a search sooner.
pub(crate) const LONGEST: Duration = Duration::from_mins(15);

/// The index pattern of all communications.
pub(crate) fn communications(names: &Names) -> String {
    names.index("communications-*")
}

/// The index of a communication, by the month in which it was created.
pub(crate) fn communications_index(names: &Names, created_at: DateTime<Utc>) -> String {
    names.index(&format!("communications-{}", created_at.format("%Y.%m")))
}

/// A client for searches in communications.
#[derive(Debug, Clone)]
pub(crate) struct Searcher {
    client: Elastic,
    indices: String,
}

impl Searcher {
    /// Creates the client; opens no connection yet.
    pub(super) fn new(stores: &Stores, names: &Names) -> Result<Self, QueryError> {
        Ok(Self { client: Elastic::limited(stores, LONGEST)?, indices: communications(names) })
    }

    /// Sends a search, whose body is JSON, routed to a tenant's shard.
    pub(crate) async fn search<T: DeserializeOwned>(&self, tenant: Uuid, body: String) -> Result<T, QueryError> {
        let path = format!("/{}/_search?routing={tenant}&{WHOLE}", self.indices);
        Ok(self.client.search(&path, body).await?)
    }
}
