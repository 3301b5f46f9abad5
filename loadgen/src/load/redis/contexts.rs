//! Loads the contexts of the customers that are looked up most, with their time to live, into the cache. It never loads
//! the others.

use super::{Cluster, Job, LoadError, Values, fill};
use crate::population::Population;
use crate::question::cached_profiles::cached_customers;
use crate::question::lookup_cached::set_context;

pub(in crate::load) const CONTEXTS: &str = "Redis contexts";

pub(super) async fn load(job: Job<'_>, cache: &Cluster) -> Result<(), LoadError> {
    let values =
        Values { kind: CONTEXTS, indices: |_, tenant| 0..cached_customers(tenant), value: Population::customer };
    fill(job, values, |customer| async move { set_context(cache, &customer).await }).await
}
