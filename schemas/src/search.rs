//! The names of the Redis search indexes. An index covers one shard, so there is one on each master of the cache, under a
//! name that the cluster routes there. This module never searches.

use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::redis;
use crate::stores::Stores;

/// The full names of a search index, one for each master: a search asks all of them. `index` is a name of
/// [`crate::names::search_index`].
pub async fn index_names(stores: &Stores, names: &Names, index: &str) -> Result<Vec<String>, SchemaError> {
    redis::index_names(stores, names, index).await
}
