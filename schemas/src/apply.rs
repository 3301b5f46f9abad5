//! Brings the stores in line with the schema files. Applying twice changes nothing the second time.
//! It never removes an object or changes a password.

use crate::error::SchemaError;
use crate::lock;
use crate::names::Names;
use crate::schema::{AppliedObject, in_each, in_store};
use crate::store::Store;
use crate::stores::Stores;

/// Applies the schemas of the chosen stores, concurrently, under the namespace's lock. If one store fails, the others
/// still finish and keep their changes; the next run continues from there.
pub async fn apply(stores: &Stores, names: &Names, which: &[Store]) -> Result<Vec<AppliedObject>, SchemaError> {
    let lock = lock::acquire(stores, names, which).await?;
    let step = |store| async move { in_store!(store, apply(stores, names)) };
    let applied = in_each(which, "apply its schema", step).await;
    lock.release().await;
    Ok(applied?.concat())
}
