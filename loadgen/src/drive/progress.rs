//! Snapshots of a running drive, for the terminal and for metrics. Publishing one never waits for a reader.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::measure::{Counts, DurationHistogram, Recorder};
use crate::plan::Totals;
use crate::question::Store;
use crate::verdict::Judged;

/// The phase of a drive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Expected answers are counted and connections opened.
    #[default]
    Preparing,
    /// Questions are asked, and answers are not recorded.
    WarmUp,
    /// Writes and probes run at their intended starts.
    Driving,
    /// The answers to questions and writes in flight are awaited.
    AwaitingAnswers,
    /// Watched events that are not visible in their store yet are awaited.
    AwaitingEvents,
}

impl Phase {
    /// The phase in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::WarmUp => "warming up",
            Self::Driving => "driving",
            Self::AwaitingAnswers => "waiting for the last answers and writes",
            Self::AwaitingEvents => "waiting for watched events to become visible",
        }
    }
}

/// A snapshot of a drive.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Time in this phase.
    pub elapsed: Duration,
    /// Length of this phase, if known.
    pub length: Duration,
    /// Whether the drive only asks; the counts of writes are zero.
    pub is_read_only: bool,
    /// Writes handed to the stores so far.
    pub sent: Totals,
    /// Writes that their stores have acknowledged.
    pub acknowledged: Totals,
    /// Writes and probes never started because a store pushed back.
    pub held_back: u64,
    /// Probes in flight.
    pub in_flight: u64,
    /// Questions to each store that were due so far.
    pub offered: BTreeMap<Store, u64>,
    /// What was measured of each question.
    pub questions: Vec<QuestionProgress>,
    /// Each SLO judged by what was measured so far, in the scenario's order. Only the verdict at the end counts.
    pub slos: Vec<Judged>,
}

/// Counts of the questions to one store so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreCounts {
    /// Questions that were due.
    pub offered: u64,
    /// Those that have ended, with or without an answer.
    pub answered: u64,
    /// Those that ended with an error or a time-out.
    pub failed: u64,
}

impl Progress {
    /// The stores that were asked something so far.
    pub fn asked(&self) -> impl Iterator<Item = Store> + use<'_> {
        self.offered.iter().filter(|(_, offered)| **offered > 0).map(|(store, _)| *store)
    }

    fn of_store(&self, store: Store) -> impl Iterator<Item = &QuestionProgress> {
        self.questions.iter().filter(move |one| one.store == store)
    }

    /// Counts of the questions to a store so far.
    pub fn counts(&self, store: Store) -> StoreCounts {
        let sum = |count: fn(&Counts) -> u64| self.of_store(store).map(|one| count(&one.counts)).sum();
        let offered = self.offered.get(&store).copied().unwrap_or_default();
        StoreCounts { offered, answered: sum(|counts| counts.samples), failed: sum(Counts::failed) }
    }

    /// Latencies of the questions to a store so far, except those of users, which are service times.
    pub fn latency(&self, store: Store) -> DurationHistogram {
        let mut latency = DurationHistogram::default();
        self.of_store(store).filter(|one| one.users.is_none()).for_each(|one| latency.merge(&one.latency));
        latency
    }
}

/// What was measured of one question so far.
#[derive(Debug, Clone)]
pub struct QuestionProgress {
    /// The question.
    pub question: String,
    /// The users who ask, if it is not asked at a rate.
    pub users: Option<String>,
    /// The store that answers.
    pub store: Store,
    /// Probes that have ended, by outcome.
    pub counts: Counts,
    /// Latencies of answers and time-outs.
    pub latency: DurationHistogram,
    /// How late the generator itself was.
    pub lag: DurationHistogram,
}

impl From<&Recorder> for QuestionProgress {
    fn from(recorder: &Recorder) -> Self {
        let measured = recorder.measured();
        Self {
            question: recorder.question().to_string(),
            users: recorder.users().map(str::to_owned),
            store: recorder.question().store(),
            counts: measured.counts,
            latency: measured.latency.clone(),
            lag: measured.lag.clone(),
        }
    }
}
