//! The progress of a load: records per kind, unfinished stores, and whether anything still advances.
//! It never stops a load itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use super::error::{LoadError, STALL_LIMIT};
use sluice_schemas::concurrency::lock;

/// Records accepted so far, by kind, and when a count last changed.
pub(super) struct LoadProgress {
    pub(super) records: Mutex<BTreeMap<String, u64>>,
    /// Stores that are not yet loaded.
    unfinished: Mutex<BTreeSet<&'static str>>,
    last_growth: Mutex<Instant>,
}

impl Default for LoadProgress {
    fn default() -> Self {
        Self { records: Mutex::default(), unfinished: Mutex::default(), last_growth: Mutex::new(Instant::now()) }
    }
}

impl LoadProgress {
    pub(super) fn add(&self, kind: &str, more: u64) {
        let mut records = lock(&self.records);
        *records.entry(kind.to_owned()).or_default() += more;
        *lock(&self.last_growth) = Instant::now();
    }

    /// Counts the time without a record from now on.
    pub(super) fn restart(&self) {
        *lock(&self.last_growth) = Instant::now();
    }

    /// Returns when no record has been accepted for [`STALL_LIMIT`].
    pub(super) async fn wait_until_stalled(&self) {
        loop {
            let idle = lock(&self.last_growth).elapsed();
            let Some(remaining) = STALL_LIMIT.checked_sub(idle) else { return };
            tokio::time::sleep(remaining).await;
        }
    }

    /// Runs one store's load and lists the store as unfinished until then.
    pub(super) async fn track<T>(
        &self,
        store: &'static str,
        load: impl Future<Output = Result<T, LoadError>>,
    ) -> Result<T, LoadError> {
        lock(&self.unfinished).insert(store);
        let loaded = Box::pin(load).await;
        lock(&self.unfinished).remove(store);
        loaded
    }

    pub(super) fn unfinished(&self) -> String {
        let stores = lock(&self.unfinished);
        stores.iter().copied().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stalled_load_is_detected() {
        let progressed = LoadProgress::default();
        progressed.add("x", 1);
        *progressed.last_growth.lock().unwrap() = Instant::now().checked_sub(STALL_LIMIT).unwrap();
        progressed.wait_until_stalled().await;
    }
}
