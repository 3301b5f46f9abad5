//! `lookup_by_id`: a customer by its identifier, in PostgreSQL. Every column of the answer is compared. The question
//! never asks the cache.

use sluice_schemas::records::Customer;
use uuid::Uuid;

use super::answer::Answer;
use super::customer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::postgres::Postgres;
use crate::target::{QueryError, Targets};

const QUERY: &str = "\
SELECT id, tenant_id, email, phone, company_name, profile_data, payment_history, preferences,
       created_at, updated_at, is_active
FROM customers
WHERE id = $1";

#[derive(Debug)]
pub(super) struct LookupById;

impl Definition for LookupById {
    fn name(&self) -> &'static str {
        "lookup_by_id"
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
            let customer = find(&targets.postgres, subject.tenant_id(), subject.customer_id()).await?;
            Ok(Answer::Customer(customer.map(Box::new)))
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// A tenant's customer of that identifier.
pub(super) async fn find(postgres: &Postgres, tenant: Uuid, id: Uuid) -> Result<Option<Customer>, QueryError> {
    let row = postgres
        .as_tenant(tenant, async |connection| sqlx::query(QUERY).bind(id).fetch_optional(connection).await)
        .await?;
    row.as_ref().map(customer::from_row).transpose()
}

/// The customer itself; nothing needs to be counted.
#[derive(Debug)]
pub(super) struct Expected;

impl Tally for Expected {
    fn expected(&self, subject: Subject<'_>) -> Answer {
        Answer::Customer(Some(Box::new(subject.customer())))
    }
}
