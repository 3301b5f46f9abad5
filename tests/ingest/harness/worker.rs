//! A running worker, and its pages and metrics.

use sluice_ingest::Error;
use sluice_ingest::config::Settings;
use sluice_ingest::lane::summary::Summary;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_testkit::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::DEADLINE;

/// A worker in this process.
pub(crate) struct Worker {
    pub(crate) url: String,
    shutdown: CancellationToken,
    task: JoinHandle<Result<Summary, Error>>,
}

/// HTTP status of a worker's page; 0 if the worker does not respond.
pub(crate) async fn status(url: &str, path: &str) -> u16 {
    reqwest::get(format!("{url}/{path}")).await.map_or(0, |response| response.status().as_u16())
}

/// Text of a worker's HTTP page; empty if the worker does not respond.
pub(crate) async fn page(url: &str, path: &str) -> String {
    let Ok(response) = reqwest::get(format!("{url}/{path}")).await else { return String::new() };
    response.text().await.unwrap_or_default()
}

/// Waits until a worker reports this reason for a stalled partition on `/readyz`.
pub(crate) async fn wait_for_stall(url: &str, why: &str) {
    let has_reason = || async {
        let output = page(url, "readyz").await;
        if output.contains(why) { Ok(()) } else { Err(output) }
    };
    eventually(DEADLINE, why, has_reason).await;
}

/// Value of a worker's metric, summed over the series whose labels contain `label`; 0 if the worker does not respond.
pub(crate) async fn metric(url: &str, name: &str, label: &str) -> f64 {
    let Ok(response) = reqwest::get(format!("{url}/metrics")).await else { return 0.0 };
    let text = response.text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

impl Worker {
    /// Starts a worker, and waits until it is ready.
    pub(super) async fn start(settings: Settings, stores: Stores, names: Names) -> Self {
        let shutdown = CancellationToken::new();
        let url = format!("http://{}", settings.listen);
        let task = tokio::spawn(sluice_ingest::run(settings, stores, names, shutdown.clone()));
        let mut worker = Self { url: url.clone(), shutdown, task };
        let is_ready = eventually(DEADLINE, "the worker is ready", || async { status(&url, "readyz").await == 200 });
        tokio::select! {
            () = is_ready => worker,
            result = &mut worker.task => panic!("the worker exited early: {}", result.unwrap().unwrap_err()),
        }
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        status(&self.url, path).await
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        reqwest::get(format!("{}/{path}", self.url)).await.unwrap().text().await.unwrap()
    }

    /// Value of a metric, summed over the series whose labels contain `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        metric(&self.url, name, label).await
    }

    /// Shuts the worker down like SIGTERM and returns its summary.
    pub(crate) async fn stop(self) -> Summary {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap()
    }

    /// Aborts the worker as in a crash: nothing more is written or committed.
    pub(crate) fn crash(self) {
        self.task.abort();
    }
}
