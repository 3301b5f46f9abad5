//! `timeline`: a customer's newest communications before the scenario's start, in PostgreSQL.
//! All columns and their order are compared. The question never sees what the drive writes.

use chrono::{DateTime, Utc};
use sluice_schemas::records::{Communication, Content};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row as _};

use super::answer::{Answer, NEWEST, TimelineEntry};
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Era, Population, Tenant, rng::KeyedRng};
use crate::target::{QueryError, Targets};

const QUERY: &str = "\
SELECT id, tenant_id, customer_id, channel, direction, content, status, created_at
FROM communications
WHERE customer_id = $1 AND created_at < $2
ORDER BY created_at DESC, id DESC
LIMIT 50";

#[derive(Debug)]
pub(super) struct Timeline;

impl Definition for Timeline {
    fn name(&self) -> &'static str {
        "timeline"
    }

    fn store(&self) -> Store {
        Store::Postgres
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    /// Half of the time the customer of a communication, so that long timelines are asked for as well.
    fn draw_key(&self, population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        if rng.chance(0.5) || tenant.past_communications == 0 {
            return Key::draw_customer(tenant, rng);
        }
        Key::Customer(population.recipient(Era::Past, tenant.index, rng.below(tenant.past_communications)))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move { entries(targets, subject, (QUERY, subject.before())).await.map(Answer::Timeline) })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// The communications of a customer that a query with a limit in time returns.
pub(super) async fn entries(
    targets: &Targets,
    subject: Subject<'_>,
    (query, limit): (&'static str, DateTime<Utc>),
) -> Result<Vec<TimelineEntry>, QueryError> {
    let customer = subject.customer_id();
    let asking =
        async |connection: &mut PgConnection| sqlx::query(query).bind(customer).bind(limit).fetch_all(connection).await;
    let rows = targets.postgres.as_tenant(subject.tenant_id(), asking).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &PgRow) -> Result<TimelineEntry, QueryError> {
    let content: Json<Content> = row.try_get("content")?;
    Ok(TimelineEntry {
        id: row.try_get("id")?,
        tenant_id: row.try_get("tenant_id")?,
        customer_id: row.try_get("customer_id")?,
        channel: row.try_get("channel")?,
        direction: row.try_get("direction")?,
        content: content.0,
        status: row.try_get("status")?,
        created_at: row.try_get("created_at")?,
    })
}

/// The population maps a customer to its communications; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    fn expected(&self, subject: Subject<'_>) -> Answer {
        Answer::Timeline(newest(subject))
    }
}

/// A customer's newest past communications.
pub(super) fn newest(subject: Subject<'_>) -> Vec<TimelineEntry> {
    let (population, tenant) = (subject.population, subject.tenant);
    let indices = population.customer_communications(Era::Past, tenant, subject.customer_index());
    let place = |index| (population.past_created(tenant, index), population.past_communication_id(tenant, index));
    let mut newest: Vec<_> = indices.into_iter().map(|index| (place(index), index)).collect();
    newest.sort_unstable_by(|one, other| other.cmp(one));
    let entry = |(_, index)| TimelineEntry::from(population.past_communication(tenant, index));
    newest.into_iter().take(NEWEST).map(entry).collect()
}

impl From<Communication> for TimelineEntry {
    fn from(communication: Communication) -> Self {
        Self {
            id: communication.id,
            tenant_id: communication.tenant_id,
            customer_id: communication.customer_id,
            channel: communication.channel.as_str().to_owned(),
            direction: communication.direction.as_str().to_owned(),
            content: communication.content,
            status: communication.status.as_str().to_owned(),
            created_at: communication.created_at,
        }
    }
}
