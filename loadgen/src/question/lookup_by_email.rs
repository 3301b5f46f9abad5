//! `lookup_by_email`: a customer by its email address, in PostgreSQL. Inactive customers are not found.

use super::answer::Answer;
use super::customer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::Targets;

const QUERY: &str = "\
SELECT id, tenant_id, email, phone, company_name, profile_data, payment_history, preferences,
       created_at, updated_at, is_active
FROM customers
WHERE email = $1 AND is_active";

#[derive(Debug)]
pub(super) struct LookupByEmail;

impl Definition for LookupByEmail {
    fn name(&self) -> &'static str {
        "lookup_by_email"
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
            let email = subject.customer().email;
            let row = targets
                .postgres
                .as_tenant(subject.tenant_id(), async |connection| {
                    sqlx::query(QUERY).bind(email).fetch_optional(connection).await
                })
                .await?;
            let customer = row.as_ref().map(customer::from_row).transpose()?;
            Ok(Answer::Customer(customer.map(Box::new)))
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// The customer itself, if it is active; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    fn expected(&self, subject: Subject<'_>) -> Answer {
        Answer::Customer(Some(subject.customer()).filter(|customer| customer.is_active).map(Box::new))
    }
}
