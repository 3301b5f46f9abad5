//! S3 in a run's namespace. The marker is a bucket whose name ends with the mark; the buckets that a run creates have
//! the mark in their names and are deleted only if empty. Objects are never deleted: no run writes one.

use std::collections::BTreeSet;

use super::bucket::buckets;
use super::server::Server;
use crate::error::SchemaError;
use crate::names::{Mark, Names};
use crate::stores::Stores;

fn marker_prefix(names: &Names) -> String {
    format!("{}-sluice-run-", names.namespace()).replace('_', "-")
}

/// The marks of all marker buckets of the namespace.
pub(crate) async fn marks(stores: &Stores, names: &Names) -> Result<BTreeSet<Mark>, SchemaError> {
    if !stores.s3.enabled {
        return Ok(BTreeSet::new());
    }
    let prefix = marker_prefix(names);
    let listed = Server::new(stores)?.list_buckets().await?;
    Ok(listed.iter().filter_map(|bucket| Mark::parse(bucket.strip_prefix(&prefix)?)).collect())
}

/// The platform's buckets in this namespace, created without a mark.
pub(crate) async fn foreign(stores: &Stores, names: &Names) -> Result<Vec<String>, SchemaError> {
    if !stores.s3.enabled {
        return Ok(Vec::new());
    }
    let listed = Server::new(stores)?.list_buckets().await?;
    // `_` is `-` in a bucket's name, so this namespace's prefix may match another namespace: compare whole names.
    let existing =
        buckets(&names.without_mark())?.into_iter().map(|bucket| bucket.name).filter(|name| listed.contains(name));
    Ok(existing.map(|name| format!("bucket {name}")).collect())
}

/// Creates the marker's bucket.
pub(crate) async fn create_marker(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    let (true, Some(mark)) = (stores.s3.enabled, names.mark()) else { return Ok(()) };
    let (server, bucket) = (Server::new(stores)?, format!("{}{}", marker_prefix(names), mark.as_str()));
    if server.has_bucket(&bucket).await? {
        return Ok(());
    }
    server.create_bucket(&bucket, false).await
}

/// Deletes the empty buckets with the mark in their names.
pub(crate) async fn clear(stores: &Stores, names: &Names) -> Result<(), SchemaError> {
    if !stores.s3.enabled || names.mark().is_none() {
        return Ok(());
    }
    let server = Server::new(stores)?;
    for bucket in buckets(names)? {
        if server.has_bucket(&bucket.name).await? && server.is_empty(&bucket.name).await? {
            server.delete_bucket(&bucket.name).await?;
        }
    }
    Ok(())
}
