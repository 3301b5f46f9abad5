//! Elasticsearch's part of the load: the past's communications by `_bulk`, routed by tenant, in monthly indices.
//! Records go in; documents come out. Refreshing rests while it loads and is set back as it was. Never touches templates.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use elasticsearch::Elasticsearch;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::request::JsonBody;
use elasticsearch::http::response::Response;
use elasticsearch::indices::IndicesExistsParts;
use futures::stream::{self, TryStreamExt as _};
use serde_json::{Value, json};
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::records::Communication;

use super::{Job, LoadError};

pub(super) const COMMUNICATIONS: &str = "Elasticsearch communications";

/// Documents of one `_bulk` request.
const CHUNK: u64 = 2_500;
/// Requests in flight.
const IN_FLIGHT: usize = 2;

/// The index of a communication, by the month it was created in.
pub(crate) fn index(names: &Names, created_at: DateTime<Utc>) -> String {
    names.index(&format!("communications-{}", created_at.format("%Y.%m")))
}

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
    let client = connect::elasticsearch(job.stores)?;
    let indices = months(&job);
    let mut intervals = Vec::new();
    for index in &indices {
        intervals.push((index, rest(&client, index).await?));
    }
    let chunks = job
        .population
        .tenants()
        .iter()
        .flat_map(|tenant| super::chunks(tenant.history, CHUNK).map(move |range| (tenant.index, range)));
    let loaded = stream::iter(chunks.map(Ok))
        .try_for_each_concurrent(IN_FLIGHT, |(tenant, range)| bulk(job, &client, tenant, range))
        .await;
    for (index, interval) in intervals {
        set_interval(&client, index, &interval).await?;
    }
    loaded?;
    call(&client, Method::Post, &format!("/{}/_refresh", job.names.index("communications-*")), None).await?;
    Ok(())
}

fn months(job: &Job<'_>) -> BTreeSet<String> {
    let past = job.population.past();
    let first = past.start.date_naive();
    let mut month = NaiveDate::from_ymd_opt(first.year(), first.month(), 1);
    let mut indices = BTreeSet::new();
    while let Some(day) = month.filter(|day| *day < past.end.date_naive()) {
        indices.insert(job.names.index(&format!("communications-{}", day.format("%Y.%m"))));
        month = day.checked_add_months(Months::new(1));
    }
    indices
}

/// Makes the index if it is not there and lets its refreshing rest; what its interval was comes back.
async fn rest(client: &Elasticsearch, index: &str) -> Result<Value, LoadError> {
    let exists = client.indices().exists(IndicesExistsParts::Index(&[index])).send().await?;
    if exists.status_code().as_u16() == 404 {
        call(client, Method::Put, &format!("/{index}"), None).await?;
    }
    let settings: Value =
        call(client, Method::Get, &format!("/{index}/_settings/index.refresh_interval"), None).await?.json().await?;
    let interval = settings[index]["settings"]["index"]["refresh_interval"].clone();
    set_interval(client, index, &json!("-1")).await?;
    Ok(interval)
}

async fn set_interval(client: &Elasticsearch, index: &str, interval: &Value) -> Result<(), LoadError> {
    let body = json!({"index": {"refresh_interval": interval}});
    call(client, Method::Put, &format!("/{index}/_settings"), Some(body)).await?;
    Ok(())
}

async fn call(client: &Elasticsearch, method: Method, path: &str, body: Option<Value>) -> Result<Response, LoadError> {
    let body = body.map(JsonBody::new);
    let response = client.transport().send(method, path, HeaderMap::new(), None::<&()>, body, None).await?;
    Ok(response.error_for_status_code()?)
}

async fn bulk(job: Job<'_>, client: &Elasticsearch, tenant: usize, range: Range<u64>) -> Result<(), LoadError> {
    job.proceed()?;
    let (population, names) = (job.population.clone(), job.names.clone());
    let count = range.end - range.start;
    let lines = super::made(move || {
        let mut lines = String::new();
        for communication in range.map(|index| population.history(tenant, index)) {
            let index = index(&names, communication.created_at);
            let action =
                json!({"index": {"_index": index, "_id": communication.id, "routing": communication.tenant_id}});
            writeln!(lines, "{action}\n{}", document(&communication)).expect("a String takes every write");
        }
        lines
    })
    .await;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let path = "/_bulk?filter_path=errors,items.*.error";
    let response = client.transport().send(Method::Post, path, headers, None::<&()>, Some(lines), None).await?;
    let answer: Value = response.error_for_status_code()?.json().await?;
    if answer["errors"] != json!(false) {
        return Err(LoadError::Refused(answer["items"][0]["index"]["error"]["reason"].to_string()));
    }
    (job.progress)(COMMUNICATIONS, count);
    Ok(())
}
