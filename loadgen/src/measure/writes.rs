//! Outcomes of writes, by store. A recorder never reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_schemas::Store;

use super::blocks::Blocks;
use super::histogram::DurationHistogram;
use super::sample::{Outcome, Sample};

/// Outcomes of the writes to one store, by their intended starts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WriteRecorder {
    store: Store,
    /// Time before the drive whose writes are not recorded.
    lead: Duration,
    outcomes: Blocks,
    answered: Blocks,
    /// From the intended start to the acknowledgement.
    latency: DurationHistogram,
    /// Waits for a connection of the generator.
    waited: DurationHistogram,
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
            latency: DurationHistogram::default(),
            waited: DurationHistogram::default(),
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

    /// Latencies of the acknowledged writes, whenever they were acknowledged, from their intended starts.
    pub fn latency(&self) -> &DurationHistogram {
        &self.latency
    }

    /// The part of each latency in which a write waited for a connection of the generator; empty if its client shares one.
    pub fn waited(&self) -> &DurationHistogram {
        &self.waited
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

    /// Counts the acknowledgement of a write, `at` after the start of the drive and `latency` after it was due.
    pub fn record_answer(&mut self, intended: Duration, at: Duration, latency: Duration) {
        if intended >= self.lead {
            self.answered.record_within(at);
            self.latency.record(latency);
        }
    }

    /// Counts a write that ended, `at` after the start of the drive. Only one that was acknowledged has a latency.
    pub fn record_ended(&mut self, sample: &Sample, at: Duration) {
        let &Sample { intended, latency, waited, outcome, .. } = sample;
        let is_acknowledged = outcome == Outcome::Correct;
        self.record(intended, !is_acknowledged);
        self.record_wait(intended, waited);
        if is_acknowledged {
            self.record_answer(intended, at, latency);
        }
    }

    /// Counts how long a write waited for a connection of the generator.
    pub fn record_wait(&mut self, intended: Duration, waited: Duration) {
        if intended >= self.lead {
            self.waited.record(waited);
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
        self.latency.merge(&other.latency);
        self.waited.merge(&other.waited);
        if let Some((mine, theirs)) = self.first_attempts.as_mut().zip(other.first_attempts.as_ref()) {
            mine.merge(theirs);
        }
    }

    /// Adds what became known about counted writes: turns as many of them into failed ones as there are failed deliveries, and
    /// counts the acknowledgements.
    pub fn add_deliveries(&mut self, deliveries: &Deliveries) {
        self.outcomes.add_exceedances(&deliveries.failed);
        self.answered.merge(&deliveries.answered);
        self.latency.merge(&deliveries.latency);
    }
}

/// What became known about writes after they were handed to a client that sends them by itself.
#[derive(Debug, Clone)]
pub struct Deliveries {
    failed: Blocks,
    answered: Blocks,
    latency: DurationHistogram,
}

impl Deliveries {
    /// No deliveries, of a drive of that length.
    pub fn new(drive: Duration) -> Self {
        Self { failed: Blocks::new(drive), answered: Blocks::new(drive), latency: DurationHistogram::default() }
    }

    /// Counts a failure, by the intended start of the write.
    pub fn record_failure(&mut self, intended: Duration) {
        self.failed.record(intended, true);
    }

    /// Counts an acknowledgement, `at` after the start of the drive; so are intended starts.
    pub fn record_answer(&mut self, intended: Duration, at: Duration) {
        self.answered.record_within(at);
        self.latency.record(at.saturating_sub(intended));
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
            let at = Duration::from_secs(second.saturating_sub(28));
            writes.record_answer(Duration::from_secs(second), at, Duration::from_secs(2));
            writes.record_wait(Duration::from_secs(second), Duration::from_secs(1));
        }
        assert_eq!((writes.outcomes().samples(), writes.outcomes().exceedances()), (60, 0));
        assert_eq!(writes.first_attempts().map(Blocks::exceedances), Some(1));
        assert_eq!(writes.answered().samples(), 58, "two were acknowledged after the end");
        assert_eq!((writes.latency().len(), writes.waited().len()), (60, 60));
    }

    #[test]
    fn deliveries_turn_writes_into_failed_ones_and_have_latencies() {
        let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
        let (mut writes, mut deliveries) = (WriteRecorder::new(Store::Kafka, minute), Deliveries::new(minute));
        for at in [second, second * 2, second * 59] {
            writes.record(at, false);
        }
        deliveries.record_failure(second);
        deliveries.record_answer(second * 2, second * 7);
        deliveries.record_answer(second * 59, second * 61);
        writes.add_deliveries(&deliveries);
        assert_eq!((writes.outcomes().samples(), writes.outcomes().exceedances()), (3, 1));
        assert_eq!(writes.answered().samples(), 1, "one was acknowledged after the end");
        assert_eq!(writes.latency().max().map(|longest| longest.as_secs()), Some(5));
    }
}
