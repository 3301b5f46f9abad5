//! What was measured: latency from the intended start, exceedances, errors, wrong answers and send lag.
//! Samples go in, mergeable recorders come out. Never reads a clock.

use std::time::Duration;

use crate::scenario::{Question, Scenario};

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The right answer.
    Right,
    /// An answer, and a wrong one.
    Wrong,
    /// The store refused or broke.
    Error,
    /// No answer in time.
    TimedOut,
}

/// One probe's end.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Intended start, since the start of the drive.
    pub intended: Duration,
    /// Actual start minus intended start.
    pub lag: Duration,
    /// End minus intended start.
    pub latency: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// Everything measured about one question. One per worker, merged at the end.
#[derive(Debug, Clone)]
pub struct Recorder {
    question: Question,
}

impl Recorder {
    /// An empty recorder.
    pub fn new(scenario: &Scenario, question: Question) -> Self {
        let _ = scenario;
        Self { question }
    }

    /// The question.
    pub fn question(&self) -> Question {
        self.question
    }

    /// Counts a sample.
    pub fn record(&mut self, sample: Sample) {
        let _ = sample;
    }

    /// Adds another recorder of the same question.
    pub fn merge(&mut self, other: &Self) {
        let _ = other;
    }
}

/// How the generator itself behaved; stores are not to blame for what is in here.
#[derive(Debug, Clone)]
pub struct Conduct {
    /// Writes and probes planned.
    pub offered: u64,
    /// Writes and probes that were started.
    pub sent: u64,
    /// Started late, or never, because a store pushed back (a full queue): the store's doing, not the generator's.
    pub held_back: u64,
    /// Wall time of the drive by the monotonic clock.
    pub monotonic: Duration,
    /// Wall time of the drive by the system clock; a difference is a jump.
    pub system: Duration,
}
