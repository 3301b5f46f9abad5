//! `timeline`: a customer's newest communications before the scenario's start, in PostgreSQL.
//! All identifiers and their order are compared.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::postgres::STORE;
use crate::target::{QueryError, Targets};

/// The `LIMIT` of [`QUERY`].
pub(super) const LIMIT: usize = 50;

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

    fn draw_key(&self, _population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::draw_customer(tenant, rng)
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let (tenant, customer) = (subject.tenant_id(), subject.customer_id());
            let rows = targets
                .postgres
                .as_tenant(tenant, async |connection| {
                    sqlx::query(QUERY).bind(customer).bind(subject.before()).fetch_all(connection).await
                })
                .await?;
            rows.iter().map(|row| id(row, tenant, customer)).collect::<Result<_, _>>().map(Answer::Timeline)
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// The row's identifier. A row of another tenant or customer fails the whole answer.
fn id(row: &PgRow, tenant: Uuid, customer: Uuid) -> Result<Uuid, QueryError> {
    let owner: (Uuid, Uuid) = (row.try_get("tenant_id")?, row.try_get("customer_id")?);
    if owner == (tenant, customer) { Ok(row.try_get("id")?) } else { Err(QueryError::ForeignRow(STORE)) }
}

/// The population maps a customer to its communications; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    fn expected(&self, subject: Subject<'_>) -> Answer {
        let (population, tenant) = (subject.population, subject.tenant);
        let newest_first = population.customer_communications(tenant, subject.customer_index()).into_iter().rev();
        Answer::Timeline(
            newest_first.take(LIMIT).map(|index| population.past_communication_id(tenant, index)).collect(),
        )
    }
}
