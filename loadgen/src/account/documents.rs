//! Elasticsearch's and Redis' side of the account: both hold the loaded population, and get live changes from elsewhere.
//! Documents are counted by tenant and compared by sample, all of them where a count is off; cached contexts are all
//! compared. Differences come out. Never writes.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use sluice_schemas::elastic::{Elastic, Method};
use sluice_schemas::names::Names;
use sluice_schemas::records::Communication;
use uuid::Uuid;

use super::canonical::Canonical as _;
use super::error::AccountError;
use super::ledger::{Differences, Sort};
use crate::load;
use crate::plan::Plan;
use crate::question::lookup_cached::get_context;
use crate::target::elasticsearch::{communications, communications_index};
use crate::target::redis::Cache;

/// Documents whose contents are compared for each tenant whose count is right.
const SAMPLE: u64 = 500;
/// Documents fetched together.
const TOGETHER: usize = 500;
/// Contexts in flight.
const IN_FLIGHT: usize = 128;

/// Documents of each tenant, whoever it is.
pub(super) async fn counts(client: &Elastic, names: &Names) -> Result<BTreeMap<Uuid, u64>, AccountError> {
    let indices = communications(names);
    let body = json!({"size": 0, "aggs": {"tenants": {"terms": {"field": "tenant_id", "size": 10_000}}}});
    let answer: Value = client.read(Method::POST, &format!("/{indices}/_search"), Some(&body)).await?;
    let buckets = answer["aggregations"]["tenants"]["buckets"].as_array().cloned().unwrap_or_default();
    let count = |bucket: &Value| Some((bucket["key"].as_str()?.parse().ok()?, bucket["doc_count"].as_u64()?));
    Ok(buckets.iter().filter_map(count).collect())
}

/// Compares a tenant's documents: a sample if their number is right, else all of them.
pub(super) async fn compare(
    client: &Elastic,
    names: &Names,
    plan: &Plan,
    tenant: usize,
    count: u64,
) -> Result<Differences, AccountError> {
    let planned = plan.population().tenants()[tenant].history;
    let step = if count == planned { (planned / SAMPLE).max(1) } else { 1 };
    let indices: Vec<u64> = (0..planned).step_by(step as usize).collect();
    let (mut differences, mut present) = (Differences::default(), 0);
    for some in indices.chunks(TOGETHER) {
        let wanted: Vec<Communication> = some.iter().map(|index| plan.population().history(tenant, *index)).collect();
        for (communication, found) in wanted.iter().zip(fetch(client, names, &wanted).await?) {
            present += u64::from(found.is_some());
            match found {
                None => differences.note(Sort::Missing, &communication.identity()),
                Some(source) if source != load::document(communication) => {
                    differences.note(Sort::Wrong, &communication.identity());
                }
                Some(_) => {}
            }
        }
    }
    if step == 1 {
        (present..count).for_each(|_| differences.note(Sort::Foreign, "document"));
    }
    Ok(differences)
}

async fn fetch(client: &Elastic, names: &Names, wanted: &[Communication]) -> Result<Vec<Option<Value>>, AccountError> {
    let document = |communication: &Communication| {
        json!({
            "_index": communications_index(names, communication.created_at),
            "_id": communication.id,
            "routing": communication.tenant_id,
        })
    };
    let body = json!({"docs": wanted.iter().map(document).collect::<Vec<_>>()});
    let answer: Value = client.read(Method::POST, "/_mget", Some(&body)).await?;
    let found = answer["docs"].as_array().cloned().unwrap_or_default();
    Ok(found
        .into_iter()
        .map(|mut document| Some(document["_source"].take()).filter(|_| document["found"] == true))
        .collect())
}

/// Compares every context of a tenant that was loaded into the cache; how many are there comes back too.
pub(super) async fn contexts(cache: &Cache, plan: &Plan, tenant: usize) -> Result<(u64, Differences), AccountError> {
    let population = plan.population();
    let hot = load::hot(&population.tenants()[tenant]);
    let found: Vec<_> = stream::iter((0..hot).map(|index| population.customer(tenant, index)))
        .map(|customer| async move { get_context(cache, customer.id).await.map(|found| (customer, found)) })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    let (mut differences, mut present) = (Differences::default(), 0);
    for (customer, found) in found {
        present += u64::from(found.is_some());
        match found {
            None => differences.note(Sort::Missing, &customer.identity()),
            Some(other) if other != customer => differences.note(Sort::Wrong, &customer.identity()),
            Some(_) => {}
        }
    }
    Ok((present, differences))
}
