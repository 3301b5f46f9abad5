//! Removes everything under a namespace's names, regardless of its creator: databases, topics and groups, indices,
//! keys, buckets. Only tests and benches call it; a run uses [`crate::runs`]. It never touches the platform's own
//! (empty) namespace.

use crate::error::SchemaError;
use crate::lock;
use crate::names::Names;
use crate::schema::{in_each, in_store};
use crate::store::Store;
use crate::stores::Stores;

/// Drops the namespace in the chosen stores, concurrently, under the namespace's lock, and returns when its names are
/// free again. A missing object is not an error.
pub async fn drop_namespace(stores: &Stores, names: &Names, which: &[Store]) -> Result<(), SchemaError> {
    if names.namespace().is_empty() {
        return Err(SchemaError::PlatformNamespace);
    }
    let lock = lock::acquire(stores, names, which).await?;
    let step = |store| async move { in_store!(store, drop_namespace(stores, names)) };
    let dropped = in_each(which, "drop its namespace", step).await;
    lock.release().await;
    dropped.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_platform_namespace_is_never_dropped() {
        let names = Names::new("").unwrap();
        let refused = drop_namespace(&Stores::local(1), &names, Store::ALL).await;
        assert!(matches!(refused, Err(SchemaError::PlatformNamespace)));
    }
}
