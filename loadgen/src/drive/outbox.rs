//! Finished calls on their way from a loop to the checks, and the counts that bound how many calls there are at once. It never asks
//! and never checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::plan::Probe;

/// Maximum number of calls in flight, in all loops. A store that exceeds this has long failed; the limit protects memory.
pub(super) const MAX_IN_FLIGHT: usize = 20_000;
/// Maximum number of finished calls that wait for their check, in all loops. It protects memory as well; more is the
/// generator's own fault.
const MAX_UNCHECKED: usize = 20_000;
/// Calls handed over together.
const BATCH: usize = 64;
/// Batches that may wait for their check; while they do, finished calls stay in the loop.
pub(super) const BATCHES: usize = 64;

/// A finished call.
#[derive(Debug)]
pub(super) struct Finished<R> {
    pub(super) probe: Probe,
    /// The reply; `None` if none came.
    pub(super) reply: Option<R>,
    /// Actual start minus intended start.
    pub(super) lag: Duration,
    /// End minus intended start.
    pub(super) latency: Duration,
    /// Part of the latency in which the call waited for a connection of this client.
    pub(super) waited: Duration,
    /// The group of the user who asked; `None` for a probe at its intended start.
    pub(super) users: Option<usize>,
    /// Whether it was never asked, because a store held it back; its times mean nothing.
    pub(super) is_held_back: bool,
}

impl<R> Finished<R> {
    /// A probe that was never asked.
    pub(super) fn held_back(probe: Probe, latency: Duration) -> Self {
        let (lag, waited) = Default::default();
        Self { probe, reply: None, lag, latency, waited, users: None, is_held_back: true }
    }
}

/// Whether one more call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may, and counts as in flight.
    Admitted,
    /// A store holds it back: too many are in flight.
    HeldBack,
    /// The generator itself can't keep up with its checks.
    ChecksBehind,
}

/// Calls that are in flight, and finished ones that wait for their check, in all loops.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    in_flight: AtomicUsize,
    unchecked: AtomicUsize,
}

impl InFlight {
    fn admit(&self) -> Admission {
        if self.0.unchecked.load(Ordering::Relaxed) >= MAX_UNCHECKED {
            return Admission::ChecksBehind;
        }
        if self.0.in_flight.fetch_add(1, Ordering::Relaxed) < MAX_IN_FLIGHT {
            return Admission::Admitted;
        }
        self.abandon(1);
        Admission::HeldBack
    }

    fn abandon(&self, calls: usize) {
        self.0.in_flight.fetch_sub(calls, Ordering::Relaxed);
    }

    /// Finished calls are recorded.
    pub(super) fn end(&self, calls: usize) {
        self.0.unchecked.fetch_sub(calls, Ordering::Relaxed);
    }
}

/// The finished calls of one loop.
pub(super) struct Outbox<R> {
    /// `None` if nothing is recorded, as in a warm-up.
    checks: Option<mpsc::Sender<Vec<Finished<R>>>>,
    in_flight: InFlight,
    finished: Vec<Finished<R>>,
}

impl<R> Outbox<R> {
    /// An empty one, which hands over to `checks` if anything is recorded.
    pub(super) fn new(checks: Option<mpsc::Sender<Vec<Finished<R>>>>, in_flight: InFlight) -> Self {
        Self { checks, in_flight, finished: Vec::with_capacity(BATCH) }
    }

    /// Whether one more call may start; if so, it is in flight from now on.
    pub(super) fn admit(&self) -> Admission {
        self.in_flight.admit()
    }

    /// Takes a call that was in flight.
    pub(super) fn take_reply(&mut self, done: Finished<R>) {
        self.in_flight.abandon(1);
        self.take(done);
    }

    /// Takes what was not in flight: a probe that was held back, or the reply to a user, who has one question at a time.
    pub(super) fn take(&mut self, done: Finished<R>) {
        self.in_flight.0.unchecked.fetch_add(1, Ordering::Relaxed);
        self.finished.push(done);
    }

    /// Hands over what was taken, if it fills a batch.
    pub(super) fn hand_over_batch(&mut self) {
        if self.finished.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Hands over what was taken, unless the checks are behind.
    pub(super) fn hand_over(&mut self) {
        if self.finished.is_empty() {
            return;
        }
        match &self.checks {
            None => self.in_flight.end(self.finished.drain(..).count()),
            Some(checks) => {
                if let Ok(permit) = checks.try_reserve() {
                    permit.send(std::mem::replace(&mut self.finished, Vec::with_capacity(BATCH)));
                }
            }
        }
    }

    /// Hands the last batch over. A stop leaves `abandoned` calls behind, which never end.
    pub(super) async fn finish(mut self, abandoned: usize) {
        self.in_flight.abandon(abandoned);
        match self.checks.take() {
            None => self.hand_over(),
            // The checks end only when the drive is stopped.
            Some(checks) => drop(checks.send(self.finished).await),
        }
    }
}
