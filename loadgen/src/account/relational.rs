//! The account of PostgreSQL's tables. It reads as the change-data-capture role, which sees every tenant, and never
//! writes.

use std::collections::BTreeMap;

use sluice_schemas::connect::{self, Role};

use super::canonical::postgres_digest;
use super::error::AccountError;
use super::ledger::{Account, Origin};
use super::page::Page;
use super::postgres::{ROW_SETS, RelationalRows};
use super::time_limit::TimeLimit;
use crate::plan::Totals;
use crate::population::Tenant;
use crate::run_context::RunContext;
use crate::target::postgres::STORE;

/// Accounts for every table.
pub(super) async fn account(
    context: RunContext<'_>,
    acknowledged: &[Totals],
    account: &mut Account,
) -> Result<(), AccountError> {
    let pool = connect::postgres(context.stores, context.names, Role::Cdc).await?;
    let rows = |tenant: &Tenant| tenant.customers + tenant.past_communications + tenant.driven_communications;
    let time_limit = TimeLimit::for_rows(context.plan.population().tenants().iter().map(rows).sum());
    for set in ROW_SETS.into_iter().filter(|set| set.origin == Origin::Loaded || !acknowledged.is_empty()) {
        let (kind, origin) = (set.kind, set.origin);
        let page = Page { store: STORE, table: set.table, kind, origin, digest: postgres_digest };
        let start = match origin {
            Origin::Loaded => context.scenario.start,
            Origin::Driven => context.plan.since().unwrap_or(context.scenario.start),
        };
        let rows = RelationalRows { pool: &pool, start, set, time_limit };
        account.ledgers.extend(page.ledgers(context.plan, acknowledged, BTreeMap::new(), &rows).await?);
    }
    pool.close().await;
    Ok(())
}
