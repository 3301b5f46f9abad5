//! One module per store: how its schema is applied, compared and dropped, and what [`crate::runs`] requires of it.
//! [`in_each`] runs a step in several stores concurrently. This module never decides the order of steps or takes a
//! lock; the callers do.
//!
//! # Layout
//! - [`clickhouse`], [`elasticsearch`], [`kafka`], [`postgres`], [`redis`], [`s3`]: the stores
//! - `migration`, `marker`: numbered migration files, and the text of run markers and labels
//! - `facts`, `drift`: a store's catalog compared with the schema files, and a difference between them
//! - `outcome`: what `apply` did to each object

pub(crate) mod clickhouse;
mod drift;
pub(crate) mod elasticsearch;
mod facts;
pub(crate) mod kafka;
pub(crate) mod marker;
mod migration;
mod outcome;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod s3;

use std::time::Duration;

use futures::future::join_all;

pub use self::drift::Drift;
pub use self::outcome::{AppliedObject, Outcome};
use crate::error::SchemaError;
use crate::store::Store;

/// Maximum time of a step in one store before the store counts as hung; not every client has its own timeout.
const STEP_TIMEOUT: Duration = Duration::from_mins(3);

/// Calls the function of that name in the module of `$store`, as in `in_store!(store, run::marks(stores, names))`.
macro_rules! in_store {
    ($store:expr, $($function:ident)::+($($argument:expr),*)) => {
        match $store {
            $crate::store::Store::Postgres => $crate::schema::postgres::$($function)::+($($argument),*).await,
            $crate::store::Store::Kafka => $crate::schema::kafka::$($function)::+($($argument),*).await,
            $crate::store::Store::ClickHouse => $crate::schema::clickhouse::$($function)::+($($argument),*).await,
            $crate::store::Store::Elasticsearch => $crate::schema::elasticsearch::$($function)::+($($argument),*).await,
            $crate::store::Store::Redis => $crate::schema::redis::$($function)::+($($argument),*).await,
            $crate::store::Store::S3 => $crate::schema::s3::$($function)::+($($argument),*).await,
        }
    };
}
pub(crate) use in_store;

/// Runs a step in all of `which` concurrently and returns the results in that order. If one store fails, the others
/// still finish; the first error is returned.
pub(crate) async fn in_each<T, F>(which: &[Store], step: &str, run: impl Fn(Store) -> F) -> Result<Vec<T>, SchemaError>
where
    F: Future<Output = Result<T, SchemaError>>,
{
    let steps = which.iter().map(|store| with_timeout(*store, step, Box::pin(run(*store))));
    join_all(steps).await.into_iter().collect()
}

async fn with_timeout<T>(
    store: Store,
    step: &str,
    running: impl Future<Output = Result<T, SchemaError>>,
) -> Result<T, SchemaError> {
    let timed_out = |_| SchemaError::Refused {
        store,
        doing: step.to_owned(),
        cause: format!("no response within {} s; is the store frozen or overloaded?", STEP_TIMEOUT.as_secs()),
    };
    tokio::time::timeout(STEP_TIMEOUT, running).await.map_err(timed_out)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_responds_is_named() {
        let never = |_| std::future::pending::<Result<(), SchemaError>>();
        let error = in_each(&[Store::ClickHouse], "read its catalog", never).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "read its catalog (ClickHouse): no response within 180 s; is the store frozen or overloaded?"
        );
    }
}
