//! Loads the Redis cache: the contexts of the customers that are looked up most, with their time to live.
//! It never loads all customers, so that a lookup can miss.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::error::LoadError;
use super::job::{Job, chunks};
use crate::population::Tenant;
use crate::question::lookup_cached::set_context;
use crate::target::redis::Cache;
use sluice_schemas::concurrency::blocking;

pub(super) const CONTEXTS: &str = "Redis contexts";

/// Contexts per batch.
const CHUNK: u64 = 1_000;
/// Commands in flight; the connection pipelines them.
const IN_FLIGHT: usize = 128;

/// The load caches the context of one in this many of a tenant's customers.
const CUSTOMERS_PER_CACHED_CONTEXT: u64 = 5;

/// Number of a tenant's customers whose context the load caches: those with the lowest indices.
pub(crate) fn cached_customers(tenant: &Tenant) -> u64 {
    tenant.customers.div_ceil(CUSTOMERS_PER_CACHED_CONTEXT)
}

pub(super) async fn load(job: Job<'_>) -> Result<(), LoadError> {
    let cache = Cache::connect(job.stores, job.names).await?;
    for tenant in job.population.tenants() {
        for range in chunks(cached_customers(tenant), CHUNK) {
            job.check_stop()?;
            let (population, index) = (job.population.clone(), tenant.index);
            let customers: Vec<_> =
                blocking(move || range.map(|customer| population.customer(index, customer)).collect()).await;
            stream::iter(&customers)
                .map(|customer| set_context(&cache, customer))
                .buffer_unordered(IN_FLIGHT)
                .try_for_each(|()| async { Ok(()) })
                .await?;
            (job.progress)(CONTEXTS, customers.len() as u64);
        }
    }
    Ok(())
}
