//! Redis in a run's namespace. The marker is a key of the state cluster, which evicts nothing. Every key and search
//! index that a run creates has the mark in its name; nothing else is ever deleted.

use std::collections::BTreeSet;

use super::node::{self, Node};
use super::{CACHE, INDEXES, STATE};
use crate::connect;
use crate::error::{SchemaError, refused};
use crate::names::{Mark, Names};
use crate::schema::marker::Marker;
use crate::store::Store;
use crate::stores::Stores;

/// Stop listing a master's foreign keys at this many; one is enough to refuse the namespace.
const ENOUGH: usize = 6;

fn marker(names: &Names) -> String {
    format!("{}:sluice-run", names.namespace())
}

/// The mark in the marker's key.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    let mut state = connect::redis_state(stores).await?;
    // A key of another type is not a marker; it counts as foreign.
    let kind: String = redis::cmd("TYPE")
        .arg(marker(names))
        .query_async(&mut state)
        .await
        .map_err(refused(Store::Redis, "read the run marker"))?;
    if kind != "string" {
        return Ok(BTreeSet::new());
    }
    let text: Option<String> = redis::cmd("GET")
        .arg(marker(names))
        .query_async(&mut state)
        .await
        .map_err(refused(Store::Redis, "read the run marker"))?;
    Ok(text.iter().filter_map(|text| Marker::decode(text, names)).collect())
}

/// Keys and search indices of the namespace that do not carry the mark; not more than a few per master.
pub(crate) async fn foreign(stores: &Stores, names: &Names) -> Result<Vec<String>, SchemaError> {
    let (all, own) = (format!("{}:", names.namespace()), names.key(""));
    let is_foreign = |name: &str| name.starts_with(&all) && !name.starts_with(&own);
    let mut foreign = Vec::new();
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        let indices = master.indices().await?.into_iter().filter(|index| is_foreign(index));
        foreign.extend(indices.map(|index| format!("search index {index}")));
        foreign.extend(foreign_keys(&mut master, &all, &is_foreign).await?);
    }
    for mut master in node::masters(STATE, &stores.redis.state).await? {
        foreign.extend(foreign_keys(&mut master, &all, &is_foreign).await?);
    }
    Ok(foreign)
}

async fn foreign_keys(
    master: &mut Node,
    prefix: &str,
    is_foreign: &impl Fn(&str) -> bool,
) -> Result<Vec<String>, SchemaError> {
    let (mut found, mut cursor) = (Vec::new(), 0);
    loop {
        let (next, keys) = master.keys(prefix, cursor).await?;
        let keys = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned());
        found.extend(keys.filter(|key| is_foreign(key)).map(|key| format!("key {key}")));
        if next == 0 || found.len() >= ENOUGH {
            return Ok(found);
        }
        cursor = next;
    }
}

/// Sets the marker's key unless it exists.
pub(crate) async fn create_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let Some(text) = Marker::encode(names) else { return Ok(()) };
    let mut state = connect::redis_state(stores).await?;
    let set = redis::cmd("SET").arg(marker(names)).arg(text).arg("NX").query_async::<redis::Value>(&mut state).await;
    set.map(drop).map_err(refused(Store::Redis, "set the run marker"))
}

/// Deletes the search indexes and the keys with the mark in their names, on every master of both clusters.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    if names.mark().is_none() {
        return Ok(());
    }
    for mut master in node::masters(CACHE, &stores.redis.cache).await? {
        for index in &INDEXES {
            if master.index(&names.key(index.name)).await?.is_some() {
                master.drop_index(&names.key(index.name)).await?;
            }
        }
        master.delete_keys(&names.key("")).await?;
    }
    for mut master in node::masters(STATE, &stores.redis.state).await? {
        master.delete_keys(&names.key("")).await?;
    }
    Ok(())
}
