//! Loads PostgreSQL: `COPY` of text rows into customers, campaigns and communications. It runs as the loader role,
//! since `COPY` is not allowed under row-level security, and never updates or deletes; only [`restore`] does, before a load.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use chrono::NaiveDate;
use futures::stream::{self, TryStreamExt as _};
use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::records::{Campaign, Communication, Customer};
use sluice_schemas::stores::Stores;
use sqlx::{PgExecutor, PgPool};

use super::error::LoadError;
use super::job::{Job, chunks};
use super::ledger::Step;
use crate::population::calendar::Period;
use crate::population::{Population, Tenant};
use sluice_schemas::concurrency::blocking;

pub(super) const CUSTOMERS: &str = "PostgreSQL customers";
pub(super) const CAMPAIGNS: &str = "PostgreSQL campaigns";
pub(super) const COMMUNICATIONS: &str = "PostgreSQL communications";

/// Rows per `COPY`: large enough to be fast, small enough to show progress.
const CHUNK: u64 = 5_000;
/// Concurrent `COPY`s.
const CONNECTIONS: usize = 3;

const COPY_CUSTOMERS: &str = "COPY customers (id, tenant_id, email, phone, company_name, profile_data, payment_history, \
     preferences, created_at, updated_at, is_active) FROM STDIN";
const COPY_CAMPAIGNS: &str = "COPY campaigns (id, tenant_id, name, configuration, escalation_rules, status, created_at, \
     updated_at) FROM STDIN";
const COPY_COMMUNICATIONS: &str = "COPY communications (id, tenant_id, customer_id, campaign_id, channel, direction, \
     content, metadata, status, created_at) FROM STDIN";

/// One table to fill.
#[derive(Clone, Copy)]
struct Table {
    kind: &'static str,
    copy: &'static str,
    count: fn(&Tenant) -> u64,
    row: fn(&Population, usize, u64, &mut Row),
}

/// How often a vacuum counts as progress, and how many times: half an hour in all.
const VACUUM_BEAT: Duration = Duration::from_secs(10);
const VACUUM_BEATS: u32 = 180;

const PARENTS: [Table; 2] = [
    Table { kind: CUSTOMERS, copy: COPY_CUSTOMERS, count: |tenant| tenant.customers, row: customer_row },
    Table { kind: CAMPAIGNS, copy: COPY_CAMPAIGNS, count: |tenant| tenant.campaigns, row: campaign_row },
];
const CHILD: Table = Table {
    kind: COMMUNICATIONS,
    copy: COPY_COMMUNICATIONS,
    count: |tenant| tenant.past_communications,
    row: communication_row,
};

pub(super) async fn load(job: Job<'_>) -> Result<(), LoadError> {
    let pool = job.ledger.pool();
    let (first, last) = (job.population.past().start.date_naive(), job.until.date_naive());
    ensure_partitions_in(pool, (first, last)).await?;
    // Communications have foreign keys to customers and campaigns.
    for table in PARENTS {
        fill(job, pool, table).await?;
    }
    fill(job, pool, CHILD).await?;
    // Otherwise autovacuum does it during the drive, because of all the rows that are new.
    let vacuuming = owner_runs(job, "VACUUM (ANALYZE) customers, campaigns, communications");
    tokio::pin!(vacuuming);
    // It accepts no records, and is no stall either, for a while.
    for _ in 0..VACUUM_BEATS {
        match tokio::time::timeout(VACUUM_BEAT, &mut vacuuming).await {
            Ok(vacuumed) => return vacuumed,
            Err(_) => job.loaded(CHILD.kind, 0),
        }
    }
    vacuuming.await
}

/// Creates the partitions of the simulated time that a trial drives.
pub(super) async fn ensure_partitions(stores: &Stores, names: &Names, driven: &Period) -> Result<(), LoadError> {
    let mut loader = connect::postgres_connection(stores, &names.database(), Role::Loader).await?;
    ensure_partitions_in(&mut loader, (driven.start.date_naive(), driven.end().date_naive())).await
}

/// Creates the partitions of all days from `first` to `last`.
async fn ensure_partitions_in(
    executor: impl PgExecutor<'_>,
    (first, last): (NaiveDate, NaiveDate),
) -> Result<(), LoadError> {
    sqlx::query("SELECT ensure_partitions($1, $2)").bind(first).bind(last).execute(executor).await?;
    Ok(())
}

/// Deletes what a drive wrote after the past. Only an administrator sees the rows of all tenants and may delete them.
pub(super) async fn restore(job: Job<'_>) -> Result<(), LoadError> {
    let database = job.names.database();
    let mut admin = connect::postgres_connection(job.stores, &database, Role::Admin).await?;
    let delete = sqlx::query("DELETE FROM communications WHERE created_at >= $1").bind(job.population.past().end);
    let deleted = delete.execute(&mut admin).await?.rows_affected();
    if deleted == 0 { Ok(()) } else { owner_runs(job, "VACUUM communications").await }
}

/// Only the owner may collect the planner's statistics, or vacuum.
async fn owner_runs(job: Job<'_>, statement: &'static str) -> Result<(), LoadError> {
    let pool = connect::postgres(job.stores, job.names, Role::Owner).await?;
    sqlx::raw_sql(statement).execute(&pool).await?;
    pool.close().await;
    Ok(())
}

async fn fill(job: Job<'_>, pool: &PgPool, table: Table) -> Result<(), LoadError> {
    let chunks = job
        .population
        .tenants()
        .iter()
        .flat_map(|tenant| chunks((table.count)(tenant), CHUNK).map(move |range| (tenant.index, range)));
    stream::iter(chunks.map(Ok))
        .try_for_each_concurrent(CONNECTIONS, |(tenant, range)| copy(job, pool, table, tenant, range))
        .await
}

async fn copy(job: Job<'_>, pool: &PgPool, table: Table, tenant: usize, range: Range<u64>) -> Result<(), LoadError> {
    job.check_stop()?;
    let step = Step { kind: table.kind, tenant, first: range.start };
    let count = range.end - range.start;
    if job.ledger.has(step) {
        job.kept(table.kind, count);
        return Ok(());
    }
    let population = job.population.clone();
    let text = blocking(move || {
        let mut row = Row::default();
        range.for_each(|index| (table.row)(&population, tenant, index, &mut row));
        row.text
    })
    .await;
    let mut transaction = pool.begin().await?;
    let mut copy = transaction.copy_in_raw(table.copy).await?;
    copy.send(text.into_bytes()).await?;
    copy.finish().await?;
    job.ledger.record(step, &mut transaction).await?;
    transaction.commit().await?;
    job.loaded(table.kind, count);
    Ok(())
}

/// Rows in the text format of `COPY`.
#[derive(Default)]
struct Row {
    text: String,
}

impl Row {
    fn field(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '\t' => self.text.push_str("\\t"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                other => self.text.push(other),
            }
        }
        self.text.push('\t');
    }

    fn nullable(&mut self, value: Option<&str>) {
        if let Some(value) = value { self.field(value) } else { self.text.push_str("\\N\t") }
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        self.field(&serde_json::to_string(value).expect("records always serialize"));
    }

    fn plain(&mut self, value: impl std::fmt::Display) {
        write!(self.text, "{value}\t").expect("a String takes every write");
    }

    fn end(&mut self) {
        self.text.pop();
        self.text.push('\n');
    }
}

fn customer_row(population: &Population, tenant: usize, index: u64, row: &mut Row) {
    let customer: Customer = population.customer(tenant, index);
    row.plain(customer.id);
    row.plain(customer.tenant_id);
    row.field(&customer.email);
    row.nullable(customer.phone.as_deref());
    row.nullable(customer.company_name.as_deref());
    row.json(&customer.profile_data);
    row.json(&customer.payment_history);
    row.json(&customer.preferences);
    row.plain(customer.created_at.to_rfc3339());
    row.plain(customer.updated_at.to_rfc3339());
    row.plain(customer.is_active);
    row.end();
}

fn campaign_row(population: &Population, tenant: usize, index: u64, row: &mut Row) {
    let campaign: Campaign = population.campaign(tenant, index);
    row.plain(campaign.id);
    row.plain(campaign.tenant_id);
    row.field(&campaign.name);
    row.json(&campaign.configuration);
    row.json(&campaign.escalation_rules);
    row.field(&campaign.status);
    row.plain(campaign.created_at.to_rfc3339());
    row.plain(campaign.updated_at.to_rfc3339());
    row.end();
}

fn communication_row(population: &Population, tenant: usize, index: u64, row: &mut Row) {
    let communication: Communication = population.past_communication(tenant, index);
    row.plain(communication.id);
    row.plain(communication.tenant_id);
    row.plain(communication.customer_id);
    row.nullable(communication.campaign_id.map(|id| id.to_string()).as_deref());
    row.plain(communication.channel);
    row.plain(communication.direction);
    row.json(&communication.content);
    row.json(&communication.metadata);
    row.plain(communication.status);
    row.plain(communication.created_at.to_rfc3339());
    row.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_copy_are_escaped() {
        let mut row = Row::default();
        row.field("a\tb\\n\n");
        row.nullable(None);
        row.json(&"x\ny");
        row.end();
        assert_eq!(row.text, "a\\tb\\\\n\\n\t\\N\t\"x\\\\ny\"\n");
    }
}
