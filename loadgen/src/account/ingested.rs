//! The account of what ingest writes: ClickHouse's tables, dead letters, and provenance.
//! It never repairs anything.

use sluice_schemas::connect;

use super::canonical::clickhouse_digest;
use super::clickhouse;
use super::dead_letters::{self, DeadLetters};
use super::error::AccountError;
use super::ledger::{Account, DifferenceKind, Differences, Ledger, NO_TENANT, Origin, Provenance};
use super::page::{Page, loaded_ledger, tenants};
use crate::plan::Totals;
use crate::run_context::RunContext;
use sluice_schemas::concurrency::blocking;

/// Everything in the dead-letter topic.
pub(super) async fn dead_letters(context: RunContext<'_>) -> Result<DeadLetters, AccountError> {
    let (reader, names) = (dead_letters::reader(context.stores, context.names)?, context.names.clone());
    Ok(blocking(move || dead_letters::read_all(&reader, &names)).await?)
}

/// Accounts for every table that ingest fills.
pub(super) async fn account(
    context: RunContext<'_>,
    acknowledged: &[Totals],
    letters: &DeadLetters,
    account: &mut Account,
) -> Result<(), AccountError> {
    let client = connect::clickhouse(context.stores, context.names);
    for table in clickhouse::TABLES {
        ingested_table(context, acknowledged, letters, (&client, table, Origin::Loaded), account).await?;
        if !acknowledged.is_empty() {
            ingested_table(context, acknowledged, letters, (&client, table, Origin::Driven), account).await?;
        }
        account.provenance.push(provenance(context, &client, table, letters).await?);
    }
    account.recomputed.push(clickhouse::compare_aggregate(&client).await?);
    Ok(())
}

async fn ingested_table(
    context: RunContext<'_>,
    acknowledged: &[Totals],
    letters: &DeadLetters,
    (client, table, origin): (&::clickhouse::Client, clickhouse::Table, Origin),
    account: &mut Account,
) -> Result<(), AccountError> {
    let clickhouse::Table { kind, expressions, .. } = table;
    let no_letters = DeadLetters::default();
    // Loaded rows never went through Kafka.
    let letters = if origin == Origin::Driven { letters } else { &no_letters };
    let tallies = clickhouse::tallies(client, expressions, origin).await?;
    let page = Page { store: "ClickHouse", table: expressions.table, kind, origin, digest: clickhouse_digest };
    for tenant in tenants(context, &tallies, &letters.tenants(kind).collect()) {
        let tally = tallies.get(&tenant).copied().unwrap_or_default();
        let fetch = async || Ok(clickhouse::entries(client, expressions, origin, tenant).await?);
        let sides = (tenant, tally, letters.identities(kind, tenant));
        account.ledgers.push(page.ledger(context, acknowledged, sides, fetch).await?);
    }
    Ok(())
}

async fn provenance(
    context: RunContext<'_>,
    client: &::clickhouse::Client,
    table: clickhouse::Table,
    letters: &DeadLetters,
) -> Result<Provenance, AccountError> {
    let topic = context.names.topic(table.topic);
    let table = table.expressions.table;
    let (rows, distinct) = clickhouse::source_offsets(client, table).await?;
    let reader = dead_letters::reader(context.stores, context.names)?;
    let dead_lettered = letters.count_from(&topic);
    let offsets = blocking(move || dead_letters::record_count(&reader, &topic)).await?;
    Ok(Provenance { table: table.to_owned(), rows, distinct, offsets, dead_lettered })
}

/// Accounts for dead letters without a readable record; no plan contains any.
pub(super) fn unreadable(letters: &DeadLetters, account: &mut Account) {
    if letters.unreadable.is_empty() {
        return;
    }
    let mut differences = Differences::default();
    for place in &letters.unreadable {
        differences.note(DifferenceKind::Unexpected, place);
    }
    let ledger = loaded_ledger("Kafka", "clickhouse-errors", NO_TENANT.to_owned(), (0, 0), differences);
    let dead_lettered = letters.unreadable.len() as u64;
    account.ledgers.push(Ledger { origin: Origin::Driven, dead_lettered, ..ledger });
}
