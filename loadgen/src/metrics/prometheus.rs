//! The metrics for Prometheus: OpenMetrics text, served at `/metrics` until the run is over. It never waits for a reader,
//! and no reader delays the drive.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::family::{Family, Labels, Series};
use super::{Metrics, PREFIX};

/// The address for metrics cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for metrics: {cause}; free the port, or choose another with --metrics or verify.metrics")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Error of the system.
    pub cause: std::io::Error,
}

/// Serves the metrics until `stop`. Returns the address, whose port the system chooses if it is 0.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<SocketAddr, ListenError> {
    let unusable = |cause| ListenError { address, cause };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let bound = listener.local_addr().map_err(unusable)?;
    let page = || async move {
        let text = encode(metrics.families()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok::<_, StatusCode>(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
    };
    let app = Router::new().route("/metrics", get(page));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::warn!(%error, "metrics are no longer served");
        }
    });
    Ok(bound)
}

/// The metrics as OpenMetrics text.
pub(super) fn encode(families: Vec<Family>) -> Result<String, fmt::Error> {
    let (mut registry, mut page) = (Registry::with_prefix(PREFIX), String::new());
    registry.register_collector(Box::new(Snapshot(families)));
    text::encode(&mut page, &registry)?;
    Ok(page)
}

/// Metrics of one instant.
#[derive(Debug)]
struct Snapshot(Vec<Family>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| encode_family(&mut encoder, family))
    }
}

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &Family) -> fmt::Result {
    let Family { name, help, series } = family;
    let kind = match series {
        Series::Counters(_) => MetricType::Counter,
        Series::Gauges(_) => MetricType::Gauge,
        Series::Histograms(_) => MetricType::Histogram,
    };
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    match series {
        Series::Counters(series) => series.iter().try_for_each(|(labels, count)| {
            metric.encode_family(labels)?.encode_counter::<Labels, _, u64>(count, None)
        }),
        Series::Gauges(series) => {
            series.iter().try_for_each(|(labels, value)| metric.encode_family(labels)?.encode_gauge(value))
        }
        Series::Histograms(series) => series.iter().try_for_each(|(labels, buckets)| {
            let bounds = buckets.bounds.iter().copied().chain([f64::INFINITY]);
            let counts: Vec<(f64, u64)> = bounds.zip(buckets.counts.iter().copied()).collect();
            metric.encode_family(labels)?.encode_histogram::<Labels>(buckets.sum, buckets.count(), &counts, None)
        }),
    }
}
