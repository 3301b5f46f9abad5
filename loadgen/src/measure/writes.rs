//! Outcomes of writes, by store. A recorder never reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_schemas::Store;

use super::blocks::Blocks;

/// Outcomes of the writes to one store, by their intended starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WriteRecorder {
    store: Store,
    /// Time before the drive whose writes are not recorded.
    lead: Duration,
    outcomes: Blocks,
    answered: Blocks,
    first_attempts: Option<Blocks>,
}

impl WriteRecorder {
    /// An empty recorder of a store whose client hides its attempts, for a drive of that length.
    pub fn new(store: Store, drive: Duration) -> Self {
        Self {
            store,
            lead: Duration::ZERO,
            outcomes: Blocks::new(drive),
            answered: Blocks::new(drive),
            first_attempts: None,
        }
    }

    /// The same recorder for writes whose intended starts count from `lead` before the drive. Those before the drive, of
    /// its warm-up, are not recorded.
    #[must_use]
    pub fn after(self, lead: Duration) -> Self {
        Self { lead, ..self }
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

    /// Writes that were acknowledged, by the time of that, until the end of the drive.
    pub fn answered(&self) -> &Blocks {
        &self.answered
    }

    /// Writes, and those whose first attempt failed; `None` if the client hides its attempts.
    pub fn first_attempts(&self) -> Option<&Blocks> {
        self.first_attempts.as_ref()
    }

    /// Counts a write.
    pub fn record(&mut self, intended: Duration, failed: bool) {
        if let Some(at) = intended.checked_sub(self.lead) {
            self.outcomes.record(at, failed);
        }
    }

    /// Counts the acknowledgement of a write, `at` after the start of the drive.
    pub fn record_answer(&mut self, intended: Duration, at: Duration) {
        if intended >= self.lead {
            self.answered.record_within(at);
        }
    }

    /// Counts the first attempt of a write.
    pub fn record_first_attempt(&mut self, intended: Duration, failed: bool) {
        if let Some((attempts, at)) = self.first_attempts.as_mut().zip(intended.checked_sub(self.lead)) {
            attempts.record(at, failed);
        }
    }

    /// Adds the writes of another generator to the same store.
    pub(super) fn merge(&mut self, other: &Self) {
        self.outcomes.merge(&other.outcomes);
        self.answered.merge(&other.answered);
        if let Some((mine, theirs)) = self.first_attempts.as_mut().zip(other.first_attempts.as_ref()) {
            mine.merge(theirs);
        }
    }

    /// Adds what became known about counted writes: turns as many as `failed` counts exceedances into failed ones, and counts
    /// the acknowledgements.
    pub fn add_deliveries(&mut self, failed: &Blocks, answered: &Blocks) {
        self.outcomes.add_exceedances(failed);
        self.answered.merge(answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_of_the_warm_up_are_not_recorded() {
        let minute = Duration::from_mins(1);
        let mut writes = WriteRecorder::with_first_attempts(Store::Postgres, minute).after(minute / 2);
        for second in 0..90 {
            writes.record(Duration::from_secs(second), second < 30);
            writes.record_first_attempt(Duration::from_secs(second), second < 31);
            writes.record_answer(Duration::from_secs(second), Duration::from_secs(second.saturating_sub(28)));
        }
        assert_eq!((writes.outcomes().samples(), writes.outcomes().exceedances()), (60, 0));
        assert_eq!(writes.first_attempts().map(Blocks::exceedances), Some(1));
        assert_eq!(writes.answered().samples(), 58, "two were acknowledged after the end");
    }
}
