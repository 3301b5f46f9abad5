//! Brings the stores to what the files say: settings and names go in, what was done comes out.
//! A second run changes nothing and says so. Never removes an object and never changes a password.

use futures::future::join_all;

use crate::error::{SchemaError, in_time};
use crate::lock;
use crate::names::Names;
use crate::schema;
use crate::store::Store;
use crate::stores::Stores;

/// One object and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The store.
    pub store: Store,
    /// The object or file.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was missing and is there now.
    Created,
    /// It was as it should be.
    Unchanged,
    /// It differed and no longer does.
    Updated,
    /// The store cannot have it, and why.
    Skipped(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Updated => f.write_str("updated"),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}

impl Applied {
    pub(crate) fn new(store: Store, what: impl Into<String>, outcome: Outcome) -> Self {
        Self { store, what: what.into(), outcome }
    }
}

/// Applies the schemas of the chosen stores, all at once, under the namespace's lock. Where one fails the others are
/// still brought to their end, and what they did stays; the next run goes on from there.
pub async fn apply(stores: &Stores, names: &Names, which: &[Store]) -> Result<Vec<Applied>, SchemaError> {
    let held = lock::acquire(stores, names, which).await?;
    let applied = join_all(which.iter().map(|store| apply_store(stores, names, *store))).await;
    held.release().await;
    let applied: Vec<Vec<Applied>> = applied.into_iter().collect::<Result<_, _>>()?;
    Ok(applied.into_iter().flatten().collect())
}

async fn apply_store(stores: &Stores, names: &Names, which: Store) -> Result<Vec<Applied>, SchemaError> {
    in_time(which, "apply its schema", Box::pin(apply_unbounded(stores, names, which))).await
}

async fn apply_unbounded(stores: &Stores, names: &Names, which: Store) -> Result<Vec<Applied>, SchemaError> {
    match which {
        Store::Postgres => schema::postgres::apply(stores, names).await,
        Store::Kafka => schema::kafka::apply(stores, names).await,
        Store::ClickHouse => schema::clickhouse::apply(stores, names).await,
        Store::Elasticsearch => schema::elasticsearch::apply(stores, names).await,
        Store::Redis => schema::redis::apply(stores, names).await,
        Store::S3 => schema::s3::apply(stores, names).await,
    }
}
