//! The checks: compares each answer with the expected one and records the sample, on a thread of its own, so that no
//! check delays a question or an answer. It never reads a clock: latencies are measured before.

use std::sync::Arc;
use std::time::Duration;

use sluice_schemas::concurrency::lock;
use tokio::sync::mpsc;

use super::outbox::{Finished, InFlight};
use super::priority;
use super::shared::Shared;
use crate::measure::{Outcome, Sample};
use crate::plan::Probe;
use crate::population::TenantClass;
use crate::question::{Answer, Question, Subject};
use crate::target::QueryError;

/// A reply of a store.
pub(super) type Reply = Result<Answer, QueryError>;

/// Checks and records answers until all senders are dropped. Blocks the thread.
pub(super) fn run(shared: &Arc<Shared>, in_flight: &InFlight, mut batches: mpsc::Receiver<Vec<Finished<Reply>>>) {
    priority::lower_this_thread();
    while let Some(batch) = batches.blocking_recv() {
        let count = batch.len();
        let samples: Vec<_> = batch.into_iter().map(|finished| check(shared, finished)).collect();
        in_flight.end(count);
        let tenants = shared.plan.population().tenants().len();
        let mut measured = lock(&shared.measured);
        for (probe, users, sample) in samples {
            let users = users.and_then(|group| shared.scenario.users.get(group)).map(|users| users.name.as_str());
            measured.record_of(users, probe.question, TenantClass::of(probe.tenant, tenants), sample);
        }
    }
}

fn check(shared: &Shared, finished: Finished<Reply>) -> (Probe, Option<usize>, Sample) {
    let Finished { probe, reply, lag, latency, spent, users, is_held_back } = finished;
    let time_out = shared.scenario.time_outs.for_store(probe.question.store());
    let (asked, answered) = (probe.at + lag, probe.at + latency);
    let outcome = if is_held_back {
        Outcome::HeldBack
    } else {
        match outcome(shared, &probe, reply, (asked, answered)) {
            Outcome::Correct | Outcome::Error if latency > time_out => Outcome::TimedOut,
            outcome => outcome,
        }
    };
    let (waited, backing) = (spent.waited, spent.backing(outcome, latency));
    let sample = Sample { intended: probe.at, lag, latency, waited, outcome, backing };
    (probe, users, sample)
}

/// Compares an answer with the expected one. A question was asked and answered so long after the start of the drive. One of a
/// scenario's own says in words what is wrong, without values.
fn compare(
    shared: &Shared,
    probe: &Probe,
    answer: &Answer,
    (asked, answered): (Duration, Duration),
) -> Result<(), Option<String>> {
    if let Question::Custom(own) = probe.question {
        return shared.own.compare(own, &probe.key, answer).map_err(Some);
    }
    let settled = shared.oracle.expected(probe.question, probe.tenant, &probe.key).ok_or(None)?;
    if !answer.is(&shared.bounds.widen(settled, probe, asked, answered)) {
        return Err(None);
    }
    shared.bounds.seen(probe, answer, (asked, answered)).then_some(()).ok_or(None)
}

/// The outcome of a probe.
fn outcome(
    shared: &Shared,
    probe: &Probe,
    reply: Option<Result<Answer, QueryError>>,
    times: (Duration, Duration),
) -> Outcome {
    let (question, tenant) = (probe.question, probe.tenant);
    let compared = match reply {
        None => return Outcome::TimedOut,
        Some(Err(error)) if !error.is_wrong_answer() => {
            shared.note_own_fault(&error);
            if shared.should_log_failure() {
                tracing::warn!(%question, tenant, %error, "a question failed");
            }
            return Outcome::Error;
        }
        Some(Err(error)) => Err(Some(error.to_string())),
        Some(Ok(answer)) => compare(shared, probe, &answer, times),
    };
    let Err(error) = compared else { return Outcome::Correct };
    if shared.should_log_failure() {
        let subject = Subject { population: shared.plan.population(), tenant, key: &probe.key }.name();
        tracing::warn!(%question, tenant, subject, at = ?probe.at, error, "an answer is wrong");
    }
    Outcome::Wrong
}
