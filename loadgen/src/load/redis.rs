//! Loads the Redis clusters: contexts, recent communications and time series into the cache, sessions into the state. It
//! never loads all contexts, so that a lookup can miss.

mod contexts;
mod recent;
mod series;
mod sessions;

use std::ops::Range;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use sluice_schemas::concurrency::blocking;

use super::error::LoadError;
use super::job::{Job, chunks};
use crate::population::{Population, Tenant};
use crate::target::QueryError;
use crate::target::redis::{Cluster, statistics};

pub(super) use contexts::CONTEXTS;
pub(super) use recent::RECENT;
pub(super) use series::SAMPLES;
pub(super) use sessions::SESSIONS;

/// Values per batch.
const CHUNK: u64 = 1_000;
/// Commands in flight; the connection pipelines them.
const IN_FLIGHT: usize = 128;
/// The counter of keys that a node has removed for lack of memory.
const EVICTED: [&str; 1] = ["evicted_keys"];

pub(super) async fn load(job: Job<'_>) -> Result<(), LoadError> {
    let cache = Cluster::cache(job.stores, job.names).await?;
    let state = Cluster::state(job.stores, job.names).await?;
    let [evicted_before] = statistics(job.stores, EVICTED).await?;
    contexts::load(job, &cache).await?;
    recent::load(job, &cache).await?;
    series::load(job, &cache).await?;
    sessions::load(job, &state).await?;
    // The cache may evict what it holds; the questions and the account expect all of what was loaded.
    let [evicted] = statistics(job.stores, EVICTED).await?;
    match evicted.saturating_sub(evicted_before) {
        0 => Ok(()),
        more => Err(LoadError::Evicted(more)),
    }
}

/// Values of one kind: a range of indices for each tenant, and the value of an index.
#[derive(Clone, Copy)]
struct Values<T> {
    kind: &'static str,
    indices: fn(&Population, &Tenant) -> Range<u64>,
    value: fn(&Population, usize, u64) -> T,
}

/// Writes the values of every tenant.
async fn fill<T, F>(job: Job<'_>, values: Values<T>, write: impl Fn(T) -> F) -> Result<(), LoadError>
where
    T: Send + 'static,
    F: Future<Output = Result<(), QueryError>>,
{
    for tenant in job.population.tenants() {
        let all = (values.indices)(job.population, tenant);
        for range in chunks(all.end - all.start, CHUNK) {
            job.check_stop()?;
            let (population, tenant, count) = (job.population.clone(), tenant.index, range.end - range.start);
            let indices = all.start + range.start..all.start + range.end;
            let made: Vec<T> =
                blocking(move || indices.map(|index| (values.value)(&population, tenant, index)).collect()).await;
            let writes = stream::iter(made).map(&write).buffer_unordered(IN_FLIGHT);
            writes.try_for_each(|()| async { Ok(()) }).await?;
            job.loaded(values.kind, count);
        }
    }
    Ok(())
}
