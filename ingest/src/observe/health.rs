//! Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`.
//! The worker reports its state here, and an orchestrator reads that state. This module makes no decision.
//!
//! `/healthz` is 200 while the consume loop runs, or is within a wait that it announced; otherwise a restart helps.
//! `/readyz` is 200 while no store is awaited at start, the group has assigned this worker its partitions, a broker responds,
//! the dead-letter topic is usable and no partition is stalled; otherwise a restart does not help, and the body states the
//! cause.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// Why partitions are stalled, by topic and partition.
type Troubles = BTreeMap<(String, i32), String>;

/// State of the worker for its health endpoints.
#[derive(Debug)]
pub struct Status {
    started: Instant,
    /// Time without a heartbeat after which the worker counts as hung.
    hung_after: Duration,
    /// Milliseconds from `started` to the last heartbeat of the consume loop.
    last_heartbeat: AtomicU64,
    /// Milliseconds from `started` to the end of the announced wait.
    waiting_until: AtomicU64,
    is_assigned: AtomicBool,
    is_kafka_unavailable: AtomicBool,
    /// The store that has to be ready before the worker can join its group.
    awaited: Mutex<Option<String>>,
    troubles: Mutex<Troubles>,
    /// Why no records arrive, by partition.
    fetch_troubles: Mutex<Troubles>,
    /// Why the dead-letter topic cannot be used.
    dead_letter_trouble: Mutex<Option<String>>,
}

impl Default for Status {
    fn default() -> Self {
        Self::new(Duration::from_mins(1))
    }
}

impl Status {
    /// Creates the status of a worker that counts as hung after `hung_after` without a heartbeat.
    pub fn new(hung_after: Duration) -> Self {
        Self {
            started: Instant::now(),
            hung_after,
            last_heartbeat: AtomicU64::new(0),
            waiting_until: AtomicU64::new(0),
            is_assigned: AtomicBool::new(false),
            is_kafka_unavailable: AtomicBool::new(false),
            awaited: Mutex::default(),
            troubles: Mutex::default(),
            fetch_troubles: Mutex::default(),
            dead_letter_trouble: Mutex::default(),
        }
    }

    /// Records a heartbeat of the consume loop.
    pub fn heartbeat(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_heartbeat.store(millis, Ordering::Relaxed);
    }

    /// Announces a wait of the consume loop of at most `longest`. A wait in several steps is announced once.
    pub fn expect_wait(&self, longest: Duration) {
        let millis = u64::try_from((self.started.elapsed() + longest).as_millis()).unwrap_or(u64::MAX);
        self.waiting_until.store(millis, Ordering::Relaxed);
    }

    /// Records that the group has assigned this worker its partitions, possibly none.
    pub fn mark_assigned(&self) {
        self.is_assigned.store(true, Ordering::Relaxed);
    }

    /// Records that the group has revoked this worker's partitions.
    pub fn mark_revoked(&self) {
        self.is_assigned.store(false, Ordering::Relaxed);
    }

    /// Sets whether any broker responds.
    pub fn set_kafka_available(&self, is_available: bool) {
        self.is_kafka_unavailable.store(!is_available, Ordering::Relaxed);
    }

    /// Sets the store that has to be ready before the worker starts; `None` once all are.
    pub fn set_awaited(&self, store: Option<String>) {
        *self.awaited.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// Sets why the dead-letter topic cannot be used, if it cannot. Returns whether the reason has changed.
    pub fn set_dead_letter_trouble(&self, why: Option<&str>) -> bool {
        let mut current = self.dead_letter_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_changed = current.as_deref() != why;
        *current = why.map(str::to_owned);
        is_changed
    }

    /// Sets why a partition is stalled, if it is.
    pub fn set_trouble(&self, topic: &str, partition: i32, why: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic.to_owned(), partition);
        match why {
            Some(why) => troubles.insert(key, why),
            None => troubles.remove(&key),
        };
    }

    /// Sets why records of a partition do not arrive from Kafka, if they do not. Returns whether the trouble began or ended.
    pub fn set_fetch_trouble(&self, topic: &str, partition: i32, why: Option<String>) -> bool {
        let mut fetch_troubles = self.fetch_troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic.to_owned(), partition);
        let is_stalled = why.is_some();
        let previous = match why {
            Some(why) => fetch_troubles.insert(key, why),
            None => fetch_troubles.remove(&key),
        };
        previous.is_some() != is_stalled
    }

    /// Returns why a partition is stalled, if it is.
    pub fn trouble(&self, topic: &str, partition: i32) -> Option<String> {
        let key = (topic.to_owned(), partition);
        let reason_in =
            |troubles: &Mutex<Troubles>| troubles.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        reason_in(&self.troubles).or_else(|| reason_in(&self.fetch_troubles))
    }

    fn is_alive(&self) -> bool {
        self.is_alive_at(self.started.elapsed())
    }

    fn is_alive_at(&self, now: Duration) -> bool {
        let [last_heartbeat, waiting_until] =
            [&self.last_heartbeat, &self.waiting_until].map(|at| Duration::from_millis(at.load(Ordering::Relaxed)));
        now.saturating_sub(last_heartbeat.max(waiting_until)) < self.hung_after
    }

    fn readiness(&self) -> (StatusCode, String) {
        if self.is_kafka_unavailable.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "no Kafka broker responds\n".to_owned());
        }
        if let Some(store) = &*self.awaited.lock().unwrap_or_else(PoisonError::into_inner) {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("starting; {store} is not ready yet\n"));
        }
        if !self.is_assigned.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "no partitions assigned yet\n".to_owned());
        }
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let fetch_troubles = self.fetch_troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let dead_letter_trouble = self.dead_letter_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.is_empty() && fetch_troubles.is_empty() && dead_letter_trouble.is_none() {
            return (StatusCode::OK, "ready\n".to_owned());
        }
        let dead_letter_line = dead_letter_trouble.as_ref().map_or_else(String::new, |why| format!("cannot {why}\n"));
        let body =
            troubles.iter().chain(&*fetch_troubles).fold(dead_letter_line, |mut body, ((topic, partition), why)| {
                writeln!(body, "{topic}/{partition} is stalled: {why}").expect("writing to a String does not fail");
                body
            });
        (StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

/// The address for metrics and health cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for metrics and health: {cause}; free the port, or change ingest.listen")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// Error of the system.
    pub cause: std::io::Error,
}

/// Starts serving metrics, health and the routes of `control` until `stop`.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    control: Router,
    stop: CancellationToken,
) -> Result<(), ListenError> {
    let listener = TcpListener::bind(address).await.map_err(|cause| ListenError { address, cause })?;
    let health = |State(status): State<Arc<Status>>| async move {
        if status.is_alive() { (StatusCode::OK, "alive\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "hung\n") }
    };
    let app = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(|State(status): State<Arc<Status>>| async move { status.readiness() }))
        .with_state(status)
        .route("/metrics", get(|| async move { metrics_text(&metrics) }))
        .merge(control);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::warn!(%error, "metrics and health are no longer served");
        }
    });
    Ok(())
}

fn metrics_text(metrics: &Metrics) -> Result<impl IntoResponse + use<>, StatusCode> {
    let text = metrics.encode().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_assigned_and_not_stalled() {
        let status = Status::default();
        status.set_awaited(Some("ClickHouse at http://store".to_owned()));
        assert_eq!(status.readiness().1, "starting; ClickHouse at http://store is not ready yet\n");
        status.set_awaited(None);
        assert_eq!(status.readiness(), (StatusCode::SERVICE_UNAVAILABLE, "no partitions assigned yet\n".to_owned()));
        status.mark_assigned();
        assert_eq!(status.readiness().0, StatusCode::OK);
        status.set_trouble("t", 3, Some("HTTP 502".to_owned()));
        assert_eq!(status.readiness(), (StatusCode::SERVICE_UNAVAILABLE, "t/3 is stalled: HTTP 502\n".to_owned()));
        assert!(status.set_fetch_trouble("t", 4, Some("no leader".to_owned())));
        assert!(!status.set_fetch_trouble("t", 4, Some("no leader yet".to_owned())));
        status.set_trouble("t", 3, None);
        assert_eq!(status.readiness().1, "t/4 is stalled: no leader yet\n");
        assert_eq!(status.trouble("t", 4).as_deref(), Some("no leader yet"));
        assert!(status.set_fetch_trouble("t", 4, None) && !status.set_fetch_trouble("t", 4, None));
        assert_eq!(status.readiness().0, StatusCode::OK);
        status.set_kafka_available(false);
        assert_eq!(status.readiness().1, "no Kafka broker responds\n");
        status.set_kafka_available(true);
        status.mark_revoked();
        assert_eq!(status.readiness().0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn alive_means_a_recent_heartbeat_or_an_announced_wait() {
        let second = Duration::from_secs(1);
        let status = Status::new(6 * second);
        status.heartbeat();
        assert!(status.is_alive_at(5 * second) && !status.is_alive_at(7 * second));
        status.expect_wait(10 * second);
        assert!(status.is_alive_at(15 * second) && !status.is_alive_at(17 * second));
    }

    #[tokio::test]
    async fn a_port_in_use_is_reported_with_a_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let stop = CancellationToken::new();
        let error = serve(address, Arc::new(Metrics::new(1)), Arc::default(), Router::new(), stop)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("listen on {address} for metrics and health")), "{error}");
        assert!(error.ends_with("free the port, or change ingest.listen"), "{error}");
    }
}
