//! Removes everything a namespace has in the stores, whoever made it: databases, topics and groups, indices, keys, buckets.
//! For tests and benches, in namespaces of their own on stacks of their own: no verb calls it, and [`crate::runs`] is what
//! they use. Refuses the platform's own (empty) namespace. Returns only when the names are free again.

use futures::future::join_all;

use crate::error::{SchemaError, in_time};
use crate::lock;
use crate::names::Names;
use crate::schema;
use crate::store::Store;
use crate::stores::Stores;

/// Drops the namespace in the chosen stores, all at once, under the namespace's lock. What is not there is no error.
pub async fn drop_namespace(stores: &Stores, names: &Names, which: &[Store]) -> Result<(), SchemaError> {
    if names.namespace().is_empty() {
        return Err(SchemaError::OwnNamespace);
    }
    let held = lock::acquire(stores, names, which).await?;
    let dropped = join_all(which.iter().map(|store| drop_in(stores, names, *store))).await;
    held.release().await;
    dropped.into_iter().collect()
}

async fn drop_in(stores: &Stores, names: &Names, which: Store) -> Result<(), SchemaError> {
    in_time(which, "drop its namespace", Box::pin(drop_unbounded(stores, names, which))).await
}

async fn drop_unbounded(stores: &Stores, names: &Names, which: Store) -> Result<(), SchemaError> {
    match which {
        Store::Postgres => schema::postgres::drop_namespace(stores, names).await,
        Store::Kafka => schema::kafka::drop_namespace(stores, names).await,
        Store::ClickHouse => schema::clickhouse::drop_namespace(stores, names).await,
        Store::Elasticsearch => schema::elasticsearch::drop_namespace(stores, names).await,
        Store::Redis => schema::redis::drop_namespace(stores, names).await,
        Store::S3 => schema::s3::drop_namespace(stores, names).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_platforms_own_namespace_is_never_dropped() {
        let names = Names::new("").unwrap();
        let refused = drop_namespace(&Stores::local(1), &names, Store::ALL).await;
        assert!(matches!(refused, Err(SchemaError::OwnNamespace)));
    }
}
