//! The metrics for an OpenTelemetry collector: pushed every few seconds over OTLP/HTTP, as JSON. A collector that does not
//! respond never delays the drive or fails the run; the log says so once.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::family::{Buckets, Family, Labels, Series};
use super::{Metrics, PREFIX};

/// Interval between two pushes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time-out of a push.
const TIMEOUT: Duration = Duration::from_secs(5);
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: a value counts from the start of the run.
const CUMULATIVE: u8 = 2;

/// Where metrics are pushed to.
#[derive(Debug)]
pub struct Otlp {
    client: reqwest::Client,
    url: reqwest::Url,
}

/// Why metrics cannot be pushed to an address.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address is no URL of HTTP.
    #[error("push metrics to verify.otlp: it must be an address of HTTP without a login, as in http://127.0.0.1:4318")]
    Address,
    /// The client could not be built.
    #[error("prepare the client of the OpenTelemetry collector: {0}")]
    Client(#[from] reqwest::Error),
}

impl Otlp {
    /// Pushes to the collector at `address`, without the path `/v1/metrics`.
    pub fn new(address: &str) -> Result<Self, OtlpError> {
        let url = reqwest::Url::parse(address).ok().filter(is_usable);
        let mut url = url.ok_or(OtlpError::Address)?;
        url.set_path(&format!("{}/v1/metrics", url.path().trim_end_matches('/')));
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        Ok(Self { url, client: client.build()? })
    }

    /// Pushes every five seconds until `stop`, and once more then.
    pub async fn push_until(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut has_failed = false;
        loop {
            let is_last = stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none();
            if let Err(error) = self.push(&metrics).await
                && !std::mem::replace(&mut has_failed, true)
            {
                let error = error.without_url();
                tracing::warn!(%error, "the OpenTelemetry collector takes no metrics; later failures are not logged");
            }
            if is_last {
                return;
            }
        }
    }

    async fn push(&self, metrics: &Metrics) -> reqwest::Result<()> {
        let body = request(metrics.families(), metrics.started(), SystemTime::now());
        let response = self.client.post(self.url.clone()).json(&body).send().await?;
        response.error_for_status().map(drop)
    }
}

/// A login would be part of the configuration that a report shows.
fn is_usable(url: &reqwest::Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none()
}

/// An `ExportMetricsServiceRequest` in the JSON form of OTLP: names in camel case, 64-bit integers as strings.
pub(super) fn request(families: Vec<Family>, started: SystemTime, now: SystemTime) -> Value {
    let times = [started, now].map(|time| nanos(time).to_string());
    let metrics: Vec<Value> = families.into_iter().map(|family| metric(family, &times)).collect();
    json!({ "resourceMetrics": [{
        "resource": { "attributes": attributes(&vec![("service.name", "sluice".to_owned())]) },
        "scopeMetrics": [{
            "scope": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
            "metrics": metrics,
        }],
    }] })
}

fn metric(Family { name, help, series }: Family, times: &[String; 2]) -> Value {
    let [start, now] = times;
    let point =
        |labels: &Labels| json!({ "attributes": attributes(labels), "startTimeUnixNano": start, "timeUnixNano": now });
    let with = |mut point: Value, more: Value| {
        if let (Some(point), Value::Object(more)) = (point.as_object_mut(), more) {
            point.extend(more);
        }
        point
    };
    let name = format!("{PREFIX}_{name}");
    match series {
        Series::Counters(series) => {
            let points =
                series.iter().map(|(labels, count)| with(point(labels), json!({ "asInt": count.to_string() })));
            let points: Vec<Value> = points.collect();
            json!({ "name": name, "description": help,
                "sum": { "aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points } })
        }
        Series::Gauges(series) => {
            let points = series.iter().map(|(labels, value)| with(point(labels), json!({ "asDouble": value })));
            let points: Vec<Value> = points.collect();
            json!({ "name": name, "description": help, "gauge": { "dataPoints": points } })
        }
        Series::Histograms(series) => {
            let points = series.iter().map(|(labels, buckets)| with(point(labels), histogram(buckets)));
            let points: Vec<Value> = points.collect();
            json!({ "name": name, "description": help, "unit": "s",
                "histogram": { "aggregationTemporality": CUMULATIVE, "dataPoints": points } })
        }
    }
}

fn histogram(buckets: &Buckets) -> Value {
    let counts: Vec<String> = buckets.counts.iter().map(u64::to_string).collect();
    json!({ "count": buckets.count().to_string(), "sum": buckets.sum, "bucketCounts": counts, "explicitBounds": buckets.bounds })
}

fn attributes(labels: &Labels) -> Value {
    labels.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
