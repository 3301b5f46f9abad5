//! One finished probe, and counts of them by outcome. It reads no clock.

use std::ops::AddAssign;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The outcome of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The expected answer.
    Correct,
    /// Another answer.
    Wrong,
    /// An error of the store.
    Error,
    /// No answer in time.
    TimedOut,
    /// Never asked, because the store had too many questions to answer already. It counts as a time-out, without a latency.
    HeldBack,
}

impl Outcome {
    /// Whether the store gave no answer in time.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::TimedOut | Self::HeldBack)
    }

    /// Whether the latency is one of the store: of an answer, or of a time-out.
    pub(super) fn has_latency(self) -> bool {
        !matches!(self, Self::Error | Self::HeldBack)
    }
}

/// What a store did that is asked behind the question's own: by a lookup through a cache, on a miss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backing {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It was asked, and a failure of the question is none of this store.
    Answered,
    /// It was asked, and a failure of the question is its own.
    Failed,
}

/// One finished probe.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Intended start, since the start of the drive.
    pub intended: Duration,
    /// Actual start minus intended start.
    pub lag: Duration,
    /// End minus intended start.
    pub latency: Duration,
    /// Part of the latency in which the probe waited for a connection of its client.
    pub waited: Duration,
    /// The outcome.
    pub outcome: Outcome,
    /// What the store behind the question's own did.
    pub backing: Backing,
}

impl Sample {
    /// An operation that failed before it started.
    pub(crate) fn failed(intended: Duration) -> Self {
        let (lag, latency, waited) = Default::default();
        Self { intended, lag, latency, waited, outcome: Outcome::Error, backing: Backing::NotAsked }
    }

    /// Whether it is an exceedance only since it waited for a connection of its client. An error would have been one anyway. Without a
    /// limit, a time-out of which most was spent waiting is one.
    pub(super) fn is_kept_waiting(&self, limit: Option<Duration>) -> bool {
        let would_exceed = match limit {
            Some(limit) => self.latency.saturating_sub(self.waited) > limit,
            None => self.waited < self.latency / 2,
        };
        self.outcome.has_latency() && self.exceeds(limit) && !would_exceed
    }

    /// Whether it counts as an exceedance of a limit.
    pub(super) fn exceeds(&self, limit: Option<Duration>) -> bool {
        self.outcome.is_failure() || limit.is_some_and(|limit| self.latency > limit)
    }
}

/// Probes by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// All probes.
    pub samples: u64,
    /// Probes not answered within the SLO's limit, errors and time-outs included.
    pub exceedances: u64,
    /// Wrong answers, however fast.
    pub wrong: u64,
    /// Errors of the store.
    pub errors: u64,
    /// Time-outs.
    pub timed_out: u64,
}

impl Counts {
    /// Probes without an answer: errors and time-outs.
    pub fn failed(&self) -> u64 {
        self.errors + self.timed_out
    }

    /// The counts of one sample.
    pub(super) fn of(outcome: Outcome, exceeds: bool) -> Self {
        Self {
            samples: 1,
            exceedances: u64::from(exceeds),
            wrong: u64::from(outcome == Outcome::Wrong),
            errors: u64::from(outcome == Outcome::Error),
            timed_out: u64::from(matches!(outcome, Outcome::TimedOut | Outcome::HeldBack)),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.exceedances += other.exceedances;
        self.wrong += other.wrong;
        self.errors += other.errors;
        self.timed_out += other.timed_out;
    }
}
