//! Drift: what the stores hold against what the files say, read from the stores' own catalogs.
//! Settings and names go in, differences come out; an empty list means none. Never changes a store.

use futures::future::join_all;

use crate::error::{SchemaError, in_time};
use crate::names::Names;
use crate::schema;
use crate::store::Store;
use crate::stores::Stores;

/// One difference between a store and the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The store.
    pub store: Store,
    /// The object, such as `index idx_customers_tenant_email`.
    pub object: String,
    /// What the files say; `nothing` for an object that should not be there.
    pub expected: String,
    /// What the store has; `nothing` for an object that is missing.
    pub found: String,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: expected {}, found {}", self.store, self.object, self.expected, self.found)
    }
}

/// Compares the chosen stores with the files, all at once.
pub async fn check(stores: &Stores, names: &Names, which: &[Store]) -> Result<Vec<Drift>, SchemaError> {
    let checked = join_all(which.iter().map(|store| check_store(stores, names, *store))).await;
    let drift: Vec<Vec<Drift>> = checked.into_iter().collect::<Result<_, _>>()?;
    Ok(drift.into_iter().flatten().collect())
}

async fn check_store(stores: &Stores, names: &Names, which: Store) -> Result<Vec<Drift>, SchemaError> {
    in_time(which, "read its catalog", Box::pin(check_unbounded(stores, names, which))).await
}

async fn check_unbounded(stores: &Stores, names: &Names, which: Store) -> Result<Vec<Drift>, SchemaError> {
    match which {
        Store::Postgres => schema::postgres::check::check(stores, names).await,
        Store::Kafka => schema::kafka::check(stores, names).await,
        Store::ClickHouse => schema::clickhouse::check(stores, names).await,
        Store::Elasticsearch => schema::elasticsearch::check(stores, names).await,
        Store::Redis => schema::redis::check(stores, names).await,
        Store::S3 => schema::s3::check(stores, names).await,
    }
}
