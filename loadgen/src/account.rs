//! The account: produced = landed + dead-lettered, per tenant and kind, to the record, in every store.
//! A plan, what the drive says was acknowledged, and the stores go in; an [`Account`] comes out. Never repairs anything.
//!
//! Each slice (kind, origin, tenant) is compared by a tally first: rows, identities, and a digest over every column,
//! made here from the seed and in the store from its rows. Only where tallies differ are all entries fetched, and the
//! differences counted and named.

mod canonical;
mod clickhouse;
mod dead_letters;
mod documents;
mod error;
mod ledger;
mod postgres;
mod reconcile;
mod settle;
mod slice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sluice_schemas::connect::{self, Role};
use sluice_schemas::elastic::Elastic;
use sluice_schemas::keyspace::CONTEXT_TTL;
use uuid::Uuid;

use crate::concurrency::blocking;
use crate::plan::{Plan, Totals};
use crate::run_context::RunContext;
use crate::scenario::Scenario;
use crate::target::redis::Cache;
use canonical::{clickhouse_digest, postgres_digest};
use dead_letters::DeadLetters;
pub use error::AccountError;
use reconcile::{Entry, Tally, reconcile};
use slice::{Kind, Slice};

pub use ledger::{Account, Differences, EXAMPLES, Ledger, NO_TENANT, Origin, Provenance, Recomputed};
pub use settle::{Settled, settle};

/// How long one store may take for its part of the account; one that froze answers never.
const PATIENCE: Duration = Duration::from_mins(1);

/// Makes the account. `acknowledged` is the drive's, by index of the tenant; an empty one stands for a load alone. A store
/// that does not answer is left out and named; the others are accounted for all the same.
pub async fn balance(context: RunContext<'_>, acknowledged: &[Totals]) -> Account {
    let mut account = Account::default();
    let letters = answered("Kafka", dead_letters(context)).await;
    let letters = letters.map_err(|why| account.unaccounted.push(why)).unwrap_or_default();
    let part = Box::pin(ingested(context, acknowledged, &letters, &mut account));
    let clickhouse = answered("ClickHouse", part).await;
    let part = Box::pin(relational(context, acknowledged, &mut account));
    let postgres = answered("PostgreSQL", part).await;
    let elasticsearch = answered("Elasticsearch", Box::pin(searchable(context, &mut account))).await;
    let redis = answered("Redis", Box::pin(cached(context, &mut account))).await;
    let parts = [clickhouse, postgres, elasticsearch, redis];
    account.unaccounted.extend(parts.into_iter().filter_map(Result::err));
    unreadable(&letters, &mut account);
    account
}

/// One store's part, or why it is missing.
async fn answered<T>(store: &str, part: impl Future<Output = Result<T, AccountError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, part).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("read the account from {store}: no answer in {} s", PATIENCE.as_secs())),
    }
}

async fn dead_letters(context: RunContext<'_>) -> Result<DeadLetters, AccountError> {
    let (reader, names) = (dead_letters::reader(context.stores, context.names)?, context.names.clone());
    Ok(blocking(move || dead_letters::read_all(&reader, &names)).await?)
}

/// The tables that ingest fills.
async fn ingested(
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
    account.recomputed.push(clickhouse::recomputed(&client).await?);
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
        let found = tallies.get(&tenant).copied().unwrap_or_default();
        let fetch = async || Ok(clickhouse::entries(client, expressions, origin, tenant).await?);
        let sides = (tenant, found, letters.of(kind, tenant));
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
    let (rows, distinct) = clickhouse::places(client, table).await?;
    let reader = dead_letters::reader(context.stores, context.names)?;
    let dead_lettered = letters.from(&topic);
    let offsets = blocking(move || dead_letters::offsets(&reader, &topic)).await?;
    Ok(Provenance { table: table.to_owned(), rows, distinct, offsets, dead_lettered })
}

/// PostgreSQL's tables.
async fn relational(
    context: RunContext<'_>,
    acknowledged: &[Totals],
    account: &mut Account,
) -> Result<(), AccountError> {
    let pool = connect::postgres(context.stores, context.names, Role::Cdc).await?;
    let start = context.scenario.start;
    let asked = postgres::ROWS.into_iter().filter(|rows| rows.origin == Origin::Loaded || !acknowledged.is_empty());
    for rows in asked {
        let tallies = rows.tallies(&pool, start).await?;
        let page = Page {
            store: "PostgreSQL",
            table: rows.table,
            kind: rows.kind,
            origin: rows.origin,
            digest: postgres_digest,
        };
        for tenant in tenants(context, &tallies, &BTreeSet::new()) {
            let found = tallies.get(&tenant).copied().unwrap_or_default();
            let fetch = async || Ok(rows.entries(&pool, start, tenant).await?);
            account.ledgers.push(page.ledger(context, acknowledged, (tenant, found, Vec::new()), fetch).await?);
        }
    }
    pool.close().await;
    Ok(())
}

/// Elasticsearch's documents.
async fn searchable(context: RunContext<'_>, account: &mut Account) -> Result<(), AccountError> {
    let client = Elastic::new(context.stores)?;
    let mut counts = documents::counts(&client, context.names).await?;
    for tenant in context.plan.population().tenants() {
        let landed = counts.remove(&tenant.id).unwrap_or_default();
        let differences = documents::compare(&client, context.names, context.plan, tenant.index, landed).await?;
        let tenant_id = tenant.id.to_string();
        account.ledgers.push(held("Elasticsearch", "communications", tenant_id, (tenant.history, landed), differences));
    }
    for (tenant, landed) in counts {
        let differences = Differences { foreign: landed, ..Differences::default() };
        account.ledgers.push(held("Elasticsearch", "communications", tenant.to_string(), (0, landed), differences));
    }
    Ok(())
}

/// Redis' contexts, unless the run is so long that they may have expired.
async fn cached(context: RunContext<'_>, account: &mut Account) -> Result<(), AccountError> {
    let Scenario { warm_up, duration, settle, .. } = context.scenario;
    if *warm_up + *duration + 2 * *settle > *CONTEXT_TTL / 2 {
        return Ok(());
    }
    let cache = Cache::connect(context.stores, context.names).await?;
    for tenant in context.plan.population().tenants() {
        let (landed, differences) = documents::contexts(&cache, context.plan, tenant.index).await?;
        let counts = (crate::load::hot(tenant), landed);
        account.ledgers.push(held("Redis", "ctx", tenant.id.to_string(), counts, differences));
    }
    Ok(())
}

fn held(store: &str, kind: &str, tenant: String, (planned, landed): (u64, u64), differences: Differences) -> Ledger {
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

/// Dead letters that no plan can hold, since nothing in them can be read.
fn unreadable(letters: &DeadLetters, account: &mut Account) {
    if letters.unreadable.is_empty() {
        return;
    }
    let mut differences = Differences::default();
    for place in &letters.unreadable {
        differences.note(ledger::Sort::Foreign, place);
    }
    let ledger = held("Kafka", "clickhouse-errors", NO_TENANT.to_owned(), (0, 0), differences);
    let dead_lettered = letters.unreadable.len() as u64;
    account.ledgers.push(Ledger { origin: Origin::Driven, dead_lettered, ..ledger });
}

/// The population's tenants, in its order, and after them any other that the store knows.
fn tenants(context: RunContext<'_>, tallies: &BTreeMap<Uuid, Tally>, others: &BTreeSet<Uuid>) -> Vec<Uuid> {
    let mut tenants: Vec<Uuid> = context.plan.population().tenants().iter().map(|tenant| tenant.id).collect();
    let known: BTreeSet<Uuid> = tenants.iter().copied().collect();
    let strange: BTreeSet<Uuid> = tallies.keys().chain(others).copied().filter(|id| !known.contains(id)).collect();
    tenants.extend(strange);
    tenants
}

/// One table and origin of the account.
#[derive(Clone, Copy)]
struct Page {
    store: &'static str,
    table: &'static str,
    kind: Kind,
    origin: Origin,
    digest: fn(&str) -> u64,
}

impl Page {
    async fn ledger(
        self,
        context: RunContext<'_>,
        acknowledged: &[Totals],
        (tenant, found, dead): (Uuid, Tally, Vec<String>),
        fetch: impl AsyncFnOnce() -> Result<Vec<Entry>, AccountError>,
    ) -> Result<Ledger, AccountError> {
        let index = context.plan.population().tenants().iter().position(|known| known.id == tenant);
        let slice = index.map(|tenant| Slice { kind: self.kind, origin: self.origin, tenant });
        let (plan, digest) = (Arc::clone(context.plan), self.digest);
        let planned = blocking(move || slice.map(|slice| slice.tally(&plan, digest)).unwrap_or_default()).await;
        let dead_lettered = dead.len() as u64;
        let differences = if planned == found && dead.is_empty() {
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
            landed: found.rows,
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
