//! Metrics of a drive while it runs: offered and achieved rates, latencies of each question, failures, send lag and the
//! verdict so far. They come from the drive's snapshots, one for each second, so no timed loop knows of them.
//! `docs/metrics.md` lists them; a test compares the page with the exported metrics.
//!
//! # Layout
//! - `family`: the metrics as data
//! - `prometheus`: served to Prometheus
//! - `otlp`: pushed to an OpenTelemetry collector

mod family;
mod otlp;
mod prometheus;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sluice_schemas::concurrency::lock;

use crate::drive::Progress;
use crate::observer::Observer;
use family::Family;

pub use otlp::{Otlp, OtlpError};
pub use prometheus::{ListenError, serve};

/// Prefix of the names of all metrics.
const PREFIX: &str = "sluice_loadgen";

/// The newest snapshot of a drive, for those who export it.
#[derive(Debug)]
pub struct Metrics {
    /// Start of the newest drive, from which its counters count.
    started: Mutex<SystemTime>,
    newest: Mutex<Arc<Progress>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { started: Mutex::new(SystemTime::now()), newest: Mutex::default() }
    }
}

impl Metrics {
    fn started(&self) -> SystemTime {
        *lock(&self.started)
    }

    fn families(&self) -> Vec<Family> {
        let newest = Arc::clone(&lock(&self.newest));
        family::families(&newest)
    }
}

impl Observer for Metrics {
    fn step_started(&self, _: &str) {}

    fn step_advanced(&self, _: &str) {}

    fn step_finished(&self, _: &str) {}

    fn load_started(&self, _: &BTreeMap<String, u64>) {}

    fn loaded(&self, _: &str, _: u64) {}

    fn kept(&self, _: &str, _: u64) {}

    fn drive_started(&self) {
        *lock(&self.started) = SystemTime::now();
    }

    fn driving(&self, now: &Arc<Progress>) {
        *lock(&self.newest) = Arc::clone(now);
    }
}
