//! The metrics of a run, served to Prometheus and pushed to an OpenTelemetry collector if that is asked for. What they
//! contain is loadgen's. It opens nothing that is not asked for.

use std::{net::SocketAddr, sync::Arc};

use sluice_loadgen::{
    metrics::{self, Metrics, Otlp},
    observer::Observer,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Who gets the metrics of a run.
#[derive(Debug)]
pub(crate) struct Exports {
    metrics: Arc<Metrics>,
    served: Option<SocketAddr>,
    pushing: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Exports {
    /// Serves at `listen`, and pushes to the collector at `otlp`.
    pub(crate) async fn start(listen: Option<SocketAddr>, otlp: Option<&str>) -> anyhow::Result<Self> {
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        let otlp = otlp.map(Otlp::new).transpose()?;
        let served = match listen {
            Some(address) => Some(metrics::serve(address, Arc::clone(&metrics), stop.clone()).await?),
            None => None,
        };
        let pushing = otlp.map(|otlp| tokio::spawn(otlp.push_until(Arc::clone(&metrics), stop.clone())));
        Ok(Self { metrics, served, pushing, stop })
    }

    /// What the metrics come from.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.metrics) as Arc<dyn Observer>
    }

    /// Where the metrics are, for the terminal.
    pub(crate) fn describe(&self) -> Option<String> {
        self.served.map(|address| format!("metrics of the drive at http://{address}/metrics"))
    }

    /// Pushes once more, and ends.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        if let Some(pushing) = self.pushing {
            // A panic of the task has been reported.
            pushing.await.ok();
        }
    }
}
