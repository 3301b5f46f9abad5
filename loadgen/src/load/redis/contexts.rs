//! Loads the contexts of the customers that are looked up most, with their time to live, into the cache.

use super::{Cluster, Job, LoadError, Values, fill};
use crate::population::{Population, Tenant};
use crate::question::lookup_cached::set_context;

pub(in crate::load) const CONTEXTS: &str = "Redis contexts";

/// The load caches the context of one in this many of a tenant's customers.
const CUSTOMERS_PER_CACHED_CONTEXT: u64 = 5;

/// Number of a tenant's customers whose context the load caches: those with the lowest indices.
pub(crate) fn cached_customers(tenant: &Tenant) -> u64 {
    tenant.customers.div_ceil(CUSTOMERS_PER_CACHED_CONTEXT)
}

pub(super) async fn load(job: Job<'_>, cache: &Cluster) -> Result<(), LoadError> {
    let values =
        Values { kind: CONTEXTS, indices: |_, tenant| 0..cached_customers(tenant), value: Population::customer };
    fill(job, values, |customer| async move { set_context(cache, &customer).await }).await
}
