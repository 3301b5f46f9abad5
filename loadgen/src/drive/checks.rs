//! The checks: compares each answer with the expected one and records the sample, on a thread of its own, so that no
//! check delays a question or an answer. It never reads a clock: latencies are measured before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use super::priority;
use super::shared::Shared;
use crate::measure::{Outcome, Sample};
use crate::plan::Probe;
use crate::question::Answer;
use crate::target::QueryError;

/// Answers that may wait for their check; while it is full, finished probes wait, which delays no measurement.
pub(super) const WAITING: usize = 4_096;

/// A finished probe.
pub(super) struct Answered {
    pub(super) probe: Probe,
    /// The reply; `None` if none came.
    pub(super) reply: Option<Result<Answer, QueryError>>,
    pub(super) lag: Duration,
    pub(super) latency: Duration,
    /// The group of the user who asked; `None` for a probe at its intended start.
    pub(super) users: Option<usize>,
    /// Counts as in flight until it is checked.
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

/// Checks and records answers until all senders are dropped. Blocks the thread.
pub(super) fn run(shared: &Arc<Shared>, mut answered: mpsc::Receiver<Answered>) {
    priority::lower_this_thread();
    while let Some(answered) = answered.blocking_recv() {
        let Answered { probe, reply, lag, latency, users, .. } = answered;
        let time_out = shared.scenario.time_outs.for_store(probe.question.store());
        let outcome = match outcome(shared, &probe, reply) {
            Outcome::Correct | Outcome::Error if latency > time_out => Outcome::TimedOut,
            outcome => outcome,
        };
        shared.record_of(users, &probe, Sample { intended: probe.at, lag, latency, outcome });
    }
}

fn outcome(shared: &Shared, probe: &Probe, reply: Option<Result<Answer, QueryError>>) -> Outcome {
    let (question, tenant) = (probe.question, probe.tenant);
    match reply {
        None => Outcome::TimedOut,
        Some(Ok(answer)) if answer.is(&shared.oracle.expected(question, tenant, &probe.key)) => Outcome::Correct,
        Some(Err(error)) if !error.is_wrong_answer() => {
            if shared.should_log_failure() {
                tracing::warn!(%question, tenant, %error, "a question failed");
            }
            Outcome::Error
        }
        Some(wrong) => {
            if shared.should_log_failure() {
                let error = wrong.err().map(|error| error.to_string());
                tracing::warn!(%question, tenant, at = ?probe.at, error, "an answer is wrong");
            }
            Outcome::Wrong
        }
    }
}
