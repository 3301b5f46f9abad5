//! How well the generator itself kept to the plan: what it started, how late, and what its machine gave it. It says nothing of a
//! store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::DurationHistogram;

/// How many operations of one kind were started; what a store held back is counted separately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Operations planned.
    pub offered: u64,
    /// Operations that were started.
    pub sent: u64,
    /// Operations never started because a store pushed back with a full queue.
    pub held_back: u64,
}

/// How well the generator kept to the plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GeneratorHealth {
    /// Writes.
    pub writes: Started,
    /// Probes.
    pub probes: Started,
    /// Send lag of writes, without the time that a store held them back.
    pub write_lag: DurationHistogram,
    /// Time that tasks of the generator waited for a thread: it delays questions and answers.
    pub task_delay: DurationHistogram,
    /// The same of the tasks that commit to PostgreSQL.
    pub commit_delay: DurationHistogram,
    /// Questions and transactions that failed because the generator may open no more files.
    pub out_of_files: u64,
    /// Whether its threads ran with a raised priority.
    pub priority_is_raised: bool,
    /// Share of all processors that the generator used, 0 to 1; `None` where the system doesn't tell.
    pub processor_share: Option<f64>,
    /// Share of all processors that the hypervisor took, 0 to 1; `None` where the system doesn't tell.
    pub steal_share: Option<f64>,
    /// Length of the drive by the monotonic clock.
    pub monotonic: Duration,
    /// The same by the system clock when it deviated most; a difference means that the clock jumped.
    pub system: Duration,
}

impl Started {
    fn merge(&mut self, other: Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.held_back += other.held_back;
    }
}

impl GeneratorHealth {
    /// Adds that of another generator of the same run; of shares the larger counts, and of clocks that which deviates more.
    pub fn merge(&mut self, other: &Self) {
        self.writes.merge(other.writes);
        self.probes.merge(other.probes);
        self.write_lag.merge(&other.write_lag);
        self.task_delay.merge(&other.task_delay);
        self.commit_delay.merge(&other.commit_delay);
        self.out_of_files += other.out_of_files;
        self.priority_is_raised &= other.priority_is_raised;
        let larger = |mine: Option<f64>, theirs: Option<f64>| mine.into_iter().chain(theirs).reduce(f64::max);
        self.processor_share = larger(self.processor_share, other.processor_share);
        self.steal_share = larger(self.steal_share, other.steal_share);
        // The clock that deviated most is judged.
        if other.system.abs_diff(other.monotonic) > self.system.abs_diff(self.monotonic) {
            (self.monotonic, self.system) = (other.monotonic, other.system);
        }
    }
}
