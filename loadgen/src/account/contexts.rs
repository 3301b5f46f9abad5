//! The account of Redis: every loaded context is compared. It never writes.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use sluice_schemas::keyspace::CONTEXT_TTL;

use super::canonical::Canonical as _;
use super::error::AccountError;
use super::ledger::{Account, DifferenceKind, Differences};
use super::page::loaded_ledger;
use crate::load;
use crate::plan::Plan;
use crate::question::lookup_cached::get_context;
use crate::run_context::RunContext;
use crate::scenario::Scenario;
use crate::target::redis::Cache;

/// Reads in flight.
const IN_FLIGHT: usize = 128;

/// Accounts for every tenant's contexts, unless the run is so long that they may have expired.
pub(super) async fn account(context: RunContext<'_>, account: &mut Account) -> Result<(), AccountError> {
    let Scenario { warm_up, duration, settle, .. } = context.scenario;
    if *warm_up + *duration + 2 * *settle > *CONTEXT_TTL / 2 {
        return Ok(());
    }
    let cache = Cache::connect(context.stores, context.names).await?;
    for tenant in context.plan.population().tenants() {
        let (landed, differences) = compare(&cache, context.plan, tenant.index).await?;
        let counts = (load::cached_customers(tenant), landed);
        account.ledgers.push(loaded_ledger("Redis", "contexts", tenant.id.to_string(), counts, differences));
    }
    Ok(())
}

/// Compares a tenant's loaded contexts. Returns their number in the cache, and the differences.
async fn compare(cache: &Cache, plan: &Plan, tenant: usize) -> Result<(u64, Differences), AccountError> {
    let population = plan.population();
    let cached = load::cached_customers(&population.tenants()[tenant]);
    let cached_contexts: Vec<_> = stream::iter((0..cached).map(|index| population.customer(tenant, index)))
        .map(|customer| async move { get_context(cache, customer.id).await.map(|context| (customer, context)) })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    let (mut differences, mut present) = (Differences::default(), 0);
    for (customer, cached) in cached_contexts {
        present += u64::from(cached.is_some());
        match cached {
            None => differences.note(DifferenceKind::Missing, &customer.identity()),
            Some(other) if other != customer => differences.note(DifferenceKind::Wrong, &customer.identity()),
            Some(_) => {}
        }
    }
    Ok((present, differences))
}
