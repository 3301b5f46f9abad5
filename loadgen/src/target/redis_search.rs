//! Searches in the Redis cache: one on each master, since an index covers one shard, all at once, with merged hits. It
//! reads keys and sort keys, never documents.

use redis::Value;
use redis::cluster_async::ClusterConnection;
use sluice_schemas::names::Names;
use sluice_schemas::search;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::error::QueryError;
use super::redis::{STORE, command};

/// A search index on the masters of the cache.
#[derive(Clone)]
pub(crate) struct Index {
    connection: ClusterConnection,
    /// Its full name on each master.
    names: Vec<String>,
    /// What the keys of its documents start with.
    prefix: String,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("names", &self.names).finish_non_exhaustive()
    }
}

/// What the masters found together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Number of all hits.
    pub(crate) total: u64,
    /// The first hits of each master: the identifier in the key, and the sort key, if there is one.
    pub(crate) hits: Vec<(Uuid, Option<i64>)>,
}

impl Index {
    /// Finds the masters of the index `index`, whose documents have keys that start with `prefix`.
    pub(crate) async fn connect(
        stores: &Stores,
        names: &Names,
        (index, prefix): (&str, &str),
        connection: ClusterConnection,
    ) -> Result<Self, QueryError> {
        let full_names = search::index_names(stores, names, index).await?;
        Ok(Self { connection, names: full_names, prefix: names.key(prefix) })
    }

    /// Sends a search to every master, with values in place of its parameters; `$index` is the index on that master.
    pub(crate) async fn search(&self, text: &str, values: &[(&str, &str)]) -> Result<Found, QueryError> {
        let searches = self.names.iter().map(|name| {
            let values: Vec<(&str, &str)> = values.iter().copied().chain([("$index", name.as_str())]).collect();
            let (command, mut connection) = (command(text, &values), self.connection.clone());
            async move { command.query_async::<Value>(&mut connection).await }
        });
        let mut all = Found::default();
        for reply in futures::future::try_join_all(searches).await? {
            let found = read(&reply, &self.prefix)
                .ok_or(QueryError::Unreadable { store: STORE, what: "a reply that is not a list of keys" })?;
            all.total += found.total;
            all.hits.extend(found.hits);
        }
        Ok(all)
    }
}

/// Reads a reply without contents: the number of hits, then keys, each followed by its sort key (`#1`) if it has one.
fn read(reply: &Value, prefix: &str) -> Option<Found> {
    let Value::Array(items) = reply else { return None };
    let (total, items) = items.split_first()?;
    let Value::Int(total) = total else { return None };
    let mut found = Found { total: u64::try_from(*total).ok()?, hits: Vec::new() };
    for item in items {
        let text: String = redis::from_redis_value_ref(item).ok()?;
        match text.strip_prefix('#') {
            Some(key) => found.hits.last_mut()?.1 = Some(key.parse().ok()?),
            None => found.hits.push((text.strip_prefix(prefix)?.parse().ok()?, None)),
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(total: i64, texts: &[&str]) -> Value {
        let texts = texts.iter().map(|text| Value::BulkString(text.as_bytes().to_vec()));
        Value::Array([Value::Int(total)].into_iter().chain(texts).collect())
    }

    #[test]
    fn keys_become_identifiers_and_sort_keys_numbers() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let key = |id| format!("ns:recent:{id}");
        let found = read(&reply(7, &[&key(one), "#1769", &key(other), "#1765"]), "ns:recent:");
        assert_eq!(found, Some(Found { total: 7, hits: vec![(one, Some(1769)), (other, Some(1765))] }));
        let found = read(&reply(1, &[&key(one)]), "ns:recent:");
        assert_eq!(found, Some(Found { total: 1, hits: vec![(one, None)] }));
        assert_eq!(read(&reply(1, &["ns:ctx:1"]), "ns:recent:"), None, "another key");
        assert_eq!(read(&Value::Nil, "ns:recent:"), None);
    }
}
