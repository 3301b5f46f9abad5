//! One table and origin of the account, tenant by tenant: tallies first, and every entry if tallies differ.
//! It never queries a store itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::error::AccountError;
use super::ledger::{Differences, Ledger, Origin};
use super::reconcile::{Entry, Tally, reconcile};
use super::slice::{Kind, Slice};
use crate::plan::{Plan, Totals};
use crate::run_context::RunContext;
use sluice_schemas::concurrency::blocking;

/// One table and origin of the account.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub(super) store: &'static str,
    pub(super) table: &'static str,
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    pub(super) digest: fn(&str) -> u64,
}

impl Page {
    /// Accounts for one tenant. `fetch` reads its entries if the tallies differ.
    pub(super) async fn ledger(
        self,
        context: RunContext<'_>,
        acknowledged: &[Totals],
        (tenant, tally, dead): (Uuid, Tally, Vec<String>),
        fetch: impl AsyncFnOnce() -> Result<Vec<Entry>, AccountError>,
    ) -> Result<Ledger, AccountError> {
        let index = context.plan.population().tenants().iter().position(|planned| planned.id == tenant);
        let slice = index.map(|tenant| Slice { kind: self.kind, origin: self.origin, tenant });
        let (plan, digest) = (Arc::clone(context.plan), self.digest);
        let planned = blocking(move || slice.map(|slice| slice.tally(&plan, digest)).unwrap_or_default()).await;
        let dead_lettered = dead.len() as u64;
        let differences = if planned == tally && dead.is_empty() {
            Differences::default()
        } else {
            let (entries, plan) = (fetch().await?, Arc::clone(context.plan));
            blocking(move || drill_down(slice, &plan, digest, entries, dead)).await
        };
        Ok(Ledger {
            store: self.store.to_owned(),
            kind: self.table.to_owned(),
            origin: self.origin,
            tenant: tenant.to_string(),
            planned: planned.rows,
            produced: slice.and_then(|slice| slice.acknowledged(acknowledged)).unwrap_or(planned.rows),
            landed: tally.rows,
            dead_lettered,
            differences,
        })
    }
}

fn drill_down(
    slice: Option<Slice>,
    plan: &Plan,
    digest: fn(&str) -> u64,
    entries: Vec<Entry>,
    dead: Vec<String>,
) -> Differences {
    let planned = |visit: &mut dyn FnMut(String, u64)| {
        if let Some(slice) = slice {
            slice.each(plan, &mut |record| visit(record.identity(), digest(&record.text())));
        }
    };
    reconcile(planned, entries, dead)
}

/// The population's tenants in order, followed by unexpected ones from the store.
pub(super) fn tenants(context: RunContext<'_>, tallies: &BTreeMap<Uuid, Tally>, others: &BTreeSet<Uuid>) -> Vec<Uuid> {
    let mut tenants: Vec<Uuid> = context.plan.population().tenants().iter().map(|tenant| tenant.id).collect();
    let planned: BTreeSet<Uuid> = tenants.iter().copied().collect();
    let unexpected: BTreeSet<Uuid> = tallies.keys().chain(others).copied().filter(|id| !planned.contains(id)).collect();
    tenants.extend(unexpected);
    tenants
}

pub(super) fn loaded_ledger(
    store: &str,
    kind: &str,
    tenant: String,
    (planned, landed): (u64, u64),
    differences: Differences,
) -> Ledger {
    Ledger {
        store: store.to_owned(),
        kind: kind.to_owned(),
        origin: Origin::Loaded,
        tenant,
        planned,
        produced: planned,
        landed,
        dead_lettered: 0,
        differences,
    }
}
