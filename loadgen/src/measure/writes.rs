//! Outcomes of writes, by store. A recorder never reads a clock.

use std::time::Duration;

use sluice_schemas::Store;

use super::blocks::Blocks;

/// Outcomes of the writes to one store, by their intended starts.
#[derive(Debug, Clone)]
pub struct WriteRecorder {
    store: Store,
    outcomes: Blocks,
    first_attempts: Option<Blocks>,
}

impl WriteRecorder {
    /// An empty recorder of a store whose client hides its attempts, for a drive of that length.
    pub fn new(store: Store, drive: Duration) -> Self {
        Self { store, outcomes: Blocks::new(drive), first_attempts: None }
    }

    /// An empty recorder of a store whose writes are retried by the drive.
    pub fn with_first_attempts(store: Store, drive: Duration) -> Self {
        Self { first_attempts: Some(Blocks::new(drive)), ..Self::new(store, drive) }
    }

    /// The store.
    pub fn store(&self) -> Store {
        self.store
    }

    /// Writes, and those that failed for good.
    pub fn outcomes(&self) -> &Blocks {
        &self.outcomes
    }

    /// Writes, and those whose first attempt failed; `None` if the client hides its attempts.
    pub fn first_attempts(&self) -> Option<&Blocks> {
        self.first_attempts.as_ref()
    }

    /// Counts a write.
    pub fn record(&mut self, intended: Duration, failed: bool) {
        self.outcomes.record(intended, failed);
    }

    /// Counts the first attempt of a write.
    pub fn record_first_attempt(&mut self, intended: Duration, failed: bool) {
        if let Some(attempts) = &mut self.first_attempts {
            attempts.record(intended, failed);
        }
    }

    /// Turns counted writes into failed ones: as many as `failed` counts exceedances.
    pub fn add_failures(&mut self, failed: &Blocks) {
        self.outcomes.add_exceedances(failed);
    }
}
