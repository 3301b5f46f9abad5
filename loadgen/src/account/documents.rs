//! The account of Elasticsearch: documents are counted by tenant and compared, of many a sample: all of them if a count, or one
//! in the sample, is wrong. Only the loaded population is expected there. The account never writes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_schemas::elastic::{Elastic, Method};
use sluice_schemas::names::Names;
use sluice_schemas::records::Communication;
use uuid::Uuid;

use super::canonical::Canonical as _;
use super::error::AccountError;
use super::ledger::{Account, DifferenceKind, Differences, Sampled};
use super::page::loaded_ledger;
use crate::load;
use crate::run_context::RunContext;
use crate::target::elasticsearch::{WHOLE, communications, communications_index};

/// Documents of all tenants that are compared, about, and those of each tenant at least.
const COMPARED: u64 = 60_000;
const LEAST: u64 = 500;
/// Documents per request.
const BATCH: usize = 500;

/// Documents by tenant, unexpected tenants included.
async fn counts(client: &Elastic, names: &Names) -> Result<BTreeMap<Uuid, u64>, AccountError> {
    let indices = communications(names);
    let body = json!({"size": 0, "aggs": {"tenants": {"terms": {"field": "tenant_id", "size": 10_000}}}});
    let response: Value = client.read(Method::POST, &format!("/{indices}/_search?{WHOLE}"), Some(&body)).await?;
    let buckets = response["aggregations"]["tenants"]["buckets"].as_array().cloned().unwrap_or_default();
    let count = |bucket: &Value| Some((bucket["key"].as_str()?.parse().ok()?, bucket["doc_count"].as_u64()?));
    Ok(buckets.iter().filter_map(count).collect())
}

/// What was found of a tenant's documents, or of a sample of them.
#[derive(Debug, Default)]
struct Compared {
    documents: u64,
    /// Those of them that are there.
    present: u64,
    differences: Differences,
}

/// Compares a tenant's documents: a sample of about `sample` if their count is right, and all of them if it is not or if one of
/// the sample is wrong.
async fn compare(
    context: RunContext<'_>,
    client: &Elastic,
    tenant: usize,
    (count, sample): (u64, u64),
) -> Result<Compared, AccountError> {
    let planned = context.plan.population().tenants()[tenant].past_communications;
    let step = planned.div_ceil(sample);
    if count == planned && step > 1 {
        let compared = compare_each(context, client, tenant, step).await?;
        if compared.differences.is_none() {
            return Ok(compared);
        }
    }
    let mut compared = compare_each(context, client, tenant, 1).await?;
    (compared.present..count).for_each(|_| compared.differences.note(DifferenceKind::Unexpected, "document"));
    Ok(compared)
}

/// Compares one in `step` of a tenant's documents.
async fn compare_each(
    context: RunContext<'_>,
    client: &Elastic,
    tenant: usize,
    step: u64,
) -> Result<Compared, AccountError> {
    let population = context.plan.population();
    let planned = population.tenants()[tenant].past_communications;
    let indices: Vec<u64> = (0..planned).step_by(step as usize).collect();
    let mut compared = Compared { documents: indices.len() as u64, ..Compared::default() };
    for batch in indices.chunks(BATCH) {
        let expected: Vec<Communication> =
            batch.iter().map(|index| population.past_communication(tenant, *index)).collect();
        for (communication, found) in expected.iter().zip(fetch(client, context.names, &expected).await?) {
            compared.present += u64::from(found.is_some());
            let difference = match found {
                None => DifferenceKind::Missing,
                Some(source) if source != load::document(communication) => DifferenceKind::Wrong,
                Some(_) => continue,
            };
            compared.differences.note(difference, &communication.identity());
        }
    }
    Ok(compared)
}

async fn fetch(
    client: &Elastic,
    names: &Names,
    communications: &[Communication],
) -> Result<Vec<Option<Value>>, AccountError> {
    let document = |communication: &Communication| {
        json!({
            "_index": communications_index(names, communication.created_at),
            "_id": communication.id,
            "routing": communication.tenant_id,
        })
    };
    let body = json!({"docs": communications.iter().map(document).collect::<Vec<_>>()});
    let response: Value = client.read(Method::POST, "/_mget", Some(&body)).await?;
    let documents = response["docs"].as_array().cloned().unwrap_or_default();
    Ok(documents
        .into_iter()
        .map(|mut document| Some(document["_source"].take()).filter(|_| document["found"] == true))
        .collect())
}

/// Accounts for every tenant's documents.
pub(super) async fn account(context: RunContext<'_>, account: &mut Account) -> Result<(), AccountError> {
    let client = Elastic::new(context.stores)?;
    let mut counts = counts(&client, context.names).await?;
    let tenants = context.plan.population().tenants();
    let planned: u64 = tenants.iter().map(|tenant| tenant.past_communications).sum();
    let mut all_compared = 0;
    for tenant in tenants {
        let landed = counts.remove(&tenant.id).unwrap_or_default();
        let sample = (COMPARED * tenant.past_communications / planned.max(1)).max(LEAST);
        let compared = compare(context, &client, tenant.index, (landed, sample)).await?;
        all_compared += compared.documents;
        let tenant_id = tenant.id.to_string();
        account.ledgers.push(loaded_ledger(
            "Elasticsearch",
            "communications",
            tenant_id,
            (tenant.past_communications, landed),
            compared.differences,
        ));
    }
    if all_compared < planned {
        let (store, records) = ("Elasticsearch".to_owned(), "communications".to_owned());
        account.sampled.push(Sampled { store, records, compared: all_compared, of: planned });
    }
    for (tenant, landed) in counts {
        let differences = Differences { unexpected: landed, ..Differences::default() };
        account.ledgers.push(loaded_ledger(
            "Elasticsearch",
            "communications",
            tenant.to_string(),
            (0, landed),
            differences,
        ));
    }
    Ok(())
}
