//! Loads Elasticsearch: past communications by `_bulk`, routed by tenant, into monthly indices. Refreshing is disabled
//! while it loads and restored afterwards. The load never changes templates.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use chrono::{Datelike as _, Months, NaiveTime};
use futures::stream::{self, TryStreamExt as _};
use serde_json::{Value, json};
use sluice_schemas::elastic::{Elastic, ElasticError, Method};
use sluice_schemas::records::Communication;

use super::error::LoadError;
use super::job::{Job, chunks};
use super::ledger::Step;
use crate::target::elasticsearch::{communications, communications_index};
use sluice_schemas::concurrency::blocking;

pub(super) const COMMUNICATIONS: &str = "Elasticsearch communications";

/// Documents per `_bulk` request.
const CHUNK: u64 = 2_500;
/// Refresh interval that disables refreshing.
const DISABLED: &str = "-1";
/// Requests in flight.
const IN_FLIGHT: usize = 2;

/// The document of a communication.
pub(crate) fn document(communication: &Communication) -> Value {
    json!({
        "tenant_id": communication.tenant_id,
        "customer_id": communication.customer_id,
        "campaign_id": communication.campaign_id,
        "channel": communication.channel,
        "direction": communication.direction,
        "subject": communication.content.subject,
        "content": communication.content.body,
        "language": communication.content.language,
        "template": communication.content.template,
        "status": communication.status,
        "timestamp": communication.created_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "metadata": communication.metadata,
    })
}

pub(super) async fn load(job: Job<'_>) -> Result<(), LoadError> {
    let client = Elastic::new(job.stores)?;
    let tenants = job.population.tenants();
    let chunks = tenants
        .iter()
        .flat_map(|tenant| chunks(tenant.past_communications, CHUNK).map(move |range| (tenant.index, range)));
    let (kept, missing): (Vec<_>, Vec<_>) = chunks.partition(|(tenant, range)| job.ledger.has(step(*tenant, range)));
    job.kept(COMMUNICATIONS, kept.iter().map(|(_, range)| range.end - range.start).sum());
    let (indices, mut intervals) = (months(&job), Vec::new());
    for index in &indices {
        if missing.is_empty() {
            resume_refresh(job, &client, index).await?;
        } else {
            intervals.push((index, stop_refresh(job, &client, index).await?));
        }
    }
    let loaded = stream::iter(missing.into_iter().map(Ok))
        .try_for_each_concurrent(IN_FLIGHT, |(tenant, range)| bulk(job, &client, tenant, range))
        .await;
    for (index, interval) in intervals {
        set_refresh_interval(&client, index, &interval).await?;
    }
    loaded?;
    check_count(&job, &client).await
}

fn step(tenant: usize, range: &Range<u64>) -> Step<'static> {
    Step { kind: COMMUNICATIONS, tenant, first: range.start }
}

/// Checks by Elasticsearch's own count that every document can be found.
async fn check_count(job: &Job<'_>, client: &Elastic) -> Result<(), LoadError> {
    let indices = communications(job.names);
    client.read::<Value>(Method::POST, &format!("/{indices}/_refresh"), None).await?;
    let response: Value = client.read(Method::GET, &format!("/{indices}/_count"), None).await?;
    let loaded: u64 = job.population.tenants().iter().map(|tenant| tenant.past_communications).sum();
    if response["count"] == json!(loaded) {
        return Ok(());
    }
    Err(LoadError::Missing { kind: COMMUNICATIONS, loaded, found: response["count"].as_u64().unwrap_or(0) })
}

fn months(job: &Job<'_>) -> BTreeSet<String> {
    let past = job.population.past();
    let first = past.start.date_naive().with_day(1).map(|day| day.and_time(NaiveTime::MIN).and_utc());
    std::iter::successors(first, |month| month.checked_add_months(Months::new(1)))
        .take_while(|month| month.date_naive() < past.end.date_naive())
        .map(|month| communications_index(job.names, month))
        .collect()
}

/// Creates the index if it does not exist and disables refreshing. Returns the previous interval, or the one before an
/// interrupted load.
async fn stop_refresh(job: Job<'_>, client: &Elastic, index: &str) -> Result<Value, LoadError> {
    let path = format!("/{index}");
    let exists = client.request(Method::HEAD, &path, None).await?;
    if exists.status.as_u16() == 404 {
        client.read::<Value>(Method::PUT, &path, None).await?;
    }
    let settings: Value = client.read(Method::GET, &format!("/{index}/_settings/index.refresh_interval"), None).await?;
    let interval = settings[index]["settings"]["index"]["refresh_interval"].clone();
    let saved = saved_interval(index);
    let interval = match job.ledger.state::<Value>(&saved) {
        Some(saved) if interval == DISABLED => saved,
        _ => interval,
    };
    job.ledger.save(&saved, &interval).await?;
    set_refresh_interval(client, index, &json!(DISABLED)).await?;
    Ok(interval)
}

/// Enables refreshing again that a load left disabled which was interrupted after its last document.
async fn resume_refresh(job: Job<'_>, client: &Elastic, index: &str) -> Result<(), LoadError> {
    let settings = client.request(Method::GET, &format!("/{index}/_settings/index.refresh_interval"), None).await?;
    let is_disabled = settings.body[index]["settings"]["index"]["refresh_interval"] == DISABLED;
    match job.ledger.state::<Value>(&saved_interval(index)).filter(|_| is_disabled) {
        Some(interval) => Ok(set_refresh_interval(client, index, &interval).await?),
        None => Ok(()),
    }
}

/// The name of the state in which the interval of an index is saved.
fn saved_interval(index: &str) -> String {
    format!("refresh interval of {index}")
}

async fn set_refresh_interval(client: &Elastic, index: &str, interval: &Value) -> Result<(), ElasticError> {
    let body = json!({"index": {"refresh_interval": interval}});
    client.read::<Value>(Method::PUT, &format!("/{index}/_settings"), Some(&body)).await.map(drop)
}

async fn bulk(job: Job<'_>, client: &Elastic, tenant: usize, range: Range<u64>) -> Result<(), LoadError> {
    job.check_stop()?;
    let step = step(tenant, &range);
    let (population, names) = (job.population.clone(), job.names.clone());
    let count = range.end - range.start;
    let lines = blocking(move || {
        let mut lines = String::new();
        for communication in range.map(|index| population.past_communication(tenant, index)) {
            let index = communications_index(&names, communication.created_at);
            let action =
                json!({"index": {"_index": index, "_id": communication.id, "routing": communication.tenant_id}});
            writeln!(lines, "{action}\n{}", document(&communication)).expect("a String takes every write");
        }
        lines
    })
    .await;
    let response = client.bulk("/_bulk?filter_path=errors,items.*.error", lines).await?;
    if response["errors"] != json!(false) {
        return Err(LoadError::Refused(response["items"][0]["index"]["error"]["reason"].to_string()));
    }
    // A request that is sent again writes the same documents under the same IDs.
    job.ledger.record_elsewhere(step).await?;
    job.loaded(COMMUNICATIONS, count);
    Ok(())
}
