//! The account of Redis: every loaded context and session is compared. It never writes.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use sluice_schemas::keyspace::{CONTEXT_TTL, SESSION_TTL};

use super::error::AccountError;
use super::ledger::{Account, DifferenceKind, Differences};
use super::page::loaded_ledger;
use crate::population::Tenant;
use crate::question::cached_profiles::cached_customers;
use crate::question::lookup_cached::get_context;
use crate::question::session::peek_session;
use crate::run_context::RunContext;
use crate::target::QueryError;
use crate::target::redis::Cluster;

/// Reads in flight.
const IN_FLIGHT: usize = 128;

/// Accounts for every tenant's contexts and sessions, unless they may have expired.
pub(super) async fn account(context: RunContext<'_>, account: &mut Account) -> Result<(), AccountError> {
    if context.loaded.elapsed() <= *CONTEXT_TTL / 2 {
        let cache = Cluster::cache(context.stores, context.names).await?;
        contexts(context, &cache, account).await?;
    }
    if context.loaded.elapsed() <= *SESSION_TTL / 2 {
        let state = Cluster::state(context.stores, context.names).await?;
        sessions(context, &state, account).await?;
    }
    Ok(())
}

async fn contexts(context: RunContext<'_>, cache: &Cluster, account: &mut Account) -> Result<(), AccountError> {
    let population = context.plan.population();
    for tenant in population.tenants() {
        let customers = (0..cached_customers(tenant)).map(|index| population.customer(tenant.index, index));
        let expected = customers.map(|customer| (customer.id, customer));
        let compared = compare(expected, |id| async move { get_context(cache, id).await }).await?;
        push(account, "contexts", tenant, (cached_customers(tenant), compared));
    }
    Ok(())
}

async fn sessions(context: RunContext<'_>, state: &Cluster, account: &mut Account) -> Result<(), AccountError> {
    let population = context.plan.population();
    for tenant in population.tenants() {
        let sessions = (0..tenant.agents).map(|agent| population.session(tenant.index, agent));
        let expected = sessions.map(|session| (session.user_id.clone(), session));
        let compared = compare(expected, |user| async move { peek_session(state, &user).await }).await?;
        push(account, "sessions", tenant, (tenant.agents, compared));
    }
    Ok(())
}

fn push(account: &mut Account, kind: &str, tenant: &Tenant, (planned, compared): (u64, (u64, Differences))) {
    let (landed, differences) = compared;
    account.ledgers.push(loaded_ledger("Redis", kind, tenant.id.to_string(), (planned, landed), differences));
}

/// Compares values with what the store has under their identities. Returns how many it has, and the differences.
async fn compare<I: ToString + Clone, V: PartialEq, F>(
    expected: impl Iterator<Item = (I, V)>,
    read: impl Fn(I) -> F,
) -> Result<(u64, Differences), AccountError>
where
    F: Future<Output = Result<Option<V>, QueryError>>,
{
    let reading = |(identity, value): (I, V)| {
        let found = read(identity.clone());
        async move {
            match found.await {
                Ok(found) => Ok((identity, found.map(|found| found == value))),
                // One value that can't be read says nothing about the others.
                Err(error) if error.is_wrong_answer() => Ok((identity, Some(false))),
                Err(error) => Err(error),
            }
        }
    };
    let mut compared = stream::iter(expected).map(reading).buffered(IN_FLIGHT);
    let (mut differences, mut present) = (Differences::default(), 0);
    while let Some((identity, is_right)) = compared.try_next().await? {
        present += u64::from(is_right.is_some());
        match is_right {
            None => differences.note(DifferenceKind::Missing, &identity.to_string()),
            Some(false) => differences.note(DifferenceKind::Wrong, &identity.to_string()),
            Some(true) => {}
        }
    }
    Ok((present, differences))
}
