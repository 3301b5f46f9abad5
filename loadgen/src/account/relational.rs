//! The account of PostgreSQL's tables. It reads as the change-data-capture role, which sees every tenant, and never
//! writes.

use std::collections::BTreeSet;

use sluice_schemas::connect::{self, Role};

use super::canonical::postgres_digest;
use super::error::AccountError;
use super::ledger::{Account, Origin};
use super::page::{Page, tenants};
use super::postgres;
use crate::plan::Totals;
use crate::run_context::RunContext;

/// Accounts for every table.
pub(super) async fn account(
    context: RunContext<'_>,
    acknowledged: &[Totals],
    account: &mut Account,
) -> Result<(), AccountError> {
    let pool = connect::postgres(context.stores, context.names, Role::Cdc).await?;
    let start = context.scenario.start;
    let accounted = postgres::ROWS.into_iter().filter(|rows| rows.origin == Origin::Loaded || !acknowledged.is_empty());
    for rows in accounted {
        let tallies = rows.tallies(&pool, start).await?;
        let page = Page {
            store: "PostgreSQL",
            table: rows.table,
            kind: rows.kind,
            origin: rows.origin,
            digest: postgres_digest,
        };
        for tenant in tenants(context, &tallies, &BTreeSet::new()) {
            let tally = tallies.get(&tenant).copied().unwrap_or_default();
            let fetch = async || Ok(rows.entries(&pool, start, tenant).await?);
            account.ledgers.push(page.ledger(context, acknowledged, (tenant, tally, Vec::new()), fetch).await?);
        }
    }
    pool.close().await;
    Ok(())
}
