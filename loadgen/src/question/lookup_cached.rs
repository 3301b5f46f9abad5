//! `lookup_cached`: a customer's context, read through the cache: Redis first, PostgreSQL on a miss, which then fills
//! the cache. A cached value of another tenant is a wrong answer, and is never overwritten.

use sluice_schemas::keyspace::CONTEXT_TTL;
use sluice_schemas::records::Customer;
use uuid::Uuid;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::lookup_by_id::{self, Expected};
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::redis::{Cluster, STORE, command, transaction};
use crate::target::{QueryError, Targets, call};

/// Reads a context. `$key` is `ctx:{customer_id}` under the namespace.
const GET: &str = "JSON.GET $key";

/// Caches a context: the customer as one JSON document. `$ttl` is that of the key space, in seconds.
const SET: &str = "\
MULTI
JSON.SET $key $ $customer
EXPIRE $key $ttl
EXEC";

#[derive(Debug)]
pub(super) struct LookupCached;

impl Definition for LookupCached {
    fn name(&self) -> &'static str {
        "lookup_cached"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn backing_store(&self) -> Option<Store> {
        Some(Store::Postgres)
    }

    fn writes(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[GET, SET]
    }

    fn draw_key(&self, _population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::draw_customer(tenant, rng)
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let customer = read_through(targets, subject.tenant_id(), subject.customer_id()).await?;
            Ok(Answer::Customer(customer.map(Box::new)))
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

async fn read_through(targets: &Targets, tenant: Uuid, id: Uuid) -> Result<Option<Customer>, QueryError> {
    let cached = get_context(&targets.cache, id).await?;
    if cached.is_some() {
        return Ok(cached);
    }
    let missed = call::ask_backing_store(lookup_by_id::find(&targets.postgres, tenant, id)).await?;
    let Some(customer) = missed else { return Ok(None) };
    set_context(&targets.cache, &customer).await?;
    Ok(Some(customer))
}

/// Reads a customer's context from the cache.
pub async fn get_context(cache: &Cluster, id: Uuid) -> Result<Option<Customer>, QueryError> {
    let get = command(GET, &[("$key", &context_key(cache, id))]);
    let text: Option<String> = get.query_async(&mut cache.connection()).await?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|_| QueryError::Unreadable { store: STORE, what: "a context that is not a customer" })
}

/// Writes a customer's context into the cache.
pub async fn set_context(cache: &Cluster, customer: &Customer) -> Result<(), QueryError> {
    let (key, ttl) = (context_key(cache, customer.id), CONTEXT_TTL.as_secs().to_string());
    let text = serde_json::to_string(customer)
        .map_err(|_| QueryError::Unreadable { store: STORE, what: "a customer that is not JSON" })?;
    let set = transaction(SET, &[("$key", &key), ("$customer", &text), ("$ttl", &ttl)]);
    set.query_async::<redis::Value>(&mut cache.connection()).await?;
    Ok(())
}

fn context_key(cache: &Cluster, id: Uuid) -> String {
    cache.key(&format!("ctx:{id}"))
}
