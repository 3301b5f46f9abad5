//! Compares the stores' own catalogs with the schema files. It never changes a store.

use crate::error::SchemaError;
use crate::names::Names;
use crate::schema::{Drift, in_each, in_store};
use crate::store::Store;
use crate::stores::Stores;

/// Compares the chosen stores with the files concurrently. No drift means that they match.
pub async fn check(stores: &Stores, names: &Names, which: &[Store]) -> Result<Vec<Drift>, SchemaError> {
    let step = |store| async move { in_store!(store, check(stores, names)) };
    Ok(in_each(which, "read its catalog", step).await?.concat())
}
