//! Finished calls on their way from a loop to the checks, and the counts that bound how many calls there are at once. It never asks
//! and never checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::plan::Probe;
use crate::question::Store;
use crate::target::call::Spent;

/// Maximum number of calls in flight to one store, in all loops. A store that exceeds this has long failed; the limit protects
/// memory. It is one for each store, so that a store that stalls never holds back the questions to another.
pub(super) const MAX_IN_FLIGHT: usize = 20_000;
/// Maximum number of finished calls that wait for their check, in all loops. It protects memory as well; more is the
/// generator's own fault.
const MAX_UNCHECKED: usize = 20_000;
const STORES: usize = Store::ALL.len();
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
    /// What the call spent its time on besides the question's own store.
    pub(super) spent: Spent,
    /// The group of the user who asked; `None` for a probe at its intended start.
    pub(super) users: Option<usize>,
    /// Whether it was never asked, because a store held it back; its times mean nothing.
    pub(super) is_held_back: bool,
}

impl<R> Finished<R> {
    /// A probe that was never asked.
    pub(super) fn held_back(probe: Probe, latency: Duration) -> Self {
        let (lag, spent) = Default::default();
        Self { probe, reply: None, lag, latency, spent, users: None, is_held_back: true }
    }
}

/// Whether one more call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may, and counts as in flight.
    Admitted,
    /// The store holds it back: too many are in flight to it.
    HeldBack,
    /// The generator itself can't keep up with its checks.
    ChecksBehind,
}

/// Calls that are in flight to each store, and finished ones that wait for their check, in all loops.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Calls>);

#[derive(Debug, Default)]
struct Calls {
    in_flight: [AtomicUsize; STORES],
    unchecked: AtomicUsize,
}

impl InFlight {
    fn admit(&self, store: Store) -> Admission {
        if self.0.unchecked.load(Ordering::Relaxed) >= MAX_UNCHECKED {
            return Admission::ChecksBehind;
        }
        if self.0.in_flight[store as usize].fetch_add(1, Ordering::Relaxed) < MAX_IN_FLIGHT {
            return Admission::Admitted;
        }
        self.abandon(store, 1);
        Admission::HeldBack
    }

    fn abandon(&self, store: Store, calls: usize) {
        self.0.in_flight[store as usize].fetch_sub(calls, Ordering::Relaxed);
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
    /// Calls of this loop that are in flight to each store.
    own: [usize; STORES],
    finished: Vec<Finished<R>>,
}

impl<R> Outbox<R> {
    /// An empty one, which hands over to `checks` if anything is recorded.
    pub(super) fn new(checks: Option<mpsc::Sender<Vec<Finished<R>>>>, in_flight: InFlight) -> Self {
        Self { checks, in_flight, own: [0; STORES], finished: Vec::with_capacity(BATCH) }
    }

    /// Whether one more call to a store may start; if so, it is in flight from now on.
    pub(super) fn admit(&mut self, store: Store) -> Admission {
        let admission = self.in_flight.admit(store);
        self.own[store as usize] += usize::from(admission == Admission::Admitted);
        admission
    }

    /// Takes a call that was in flight.
    pub(super) fn take_reply(&mut self, done: Finished<R>) {
        let store = done.probe.question.store();
        self.in_flight.abandon(store, 1);
        self.own[store as usize] -= 1;
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

    /// Hands the last batch over. A stop leaves calls behind, which never end and are in flight no more.
    pub(super) async fn finish(mut self) {
        for (store, calls) in Store::ALL.iter().zip(self.own) {
            self.in_flight.abandon(*store, calls);
        }
        match self.checks.take() {
            None => self.hand_over(),
            // The checks end only when the drive is stopped.
            Some(checks) => drop(checks.send(self.finished).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_stalls_holds_back_only_its_own_questions() {
        let in_flight = InFlight::default();
        let mut outbox = Outbox::<()>::new(None, in_flight.clone());
        let admitted = (0..MAX_IN_FLIGHT).filter(|_| outbox.admit(Store::Postgres) == Admission::Admitted).count();
        assert_eq!((admitted, outbox.admit(Store::Postgres)), (MAX_IN_FLIGHT, Admission::HeldBack));
        let mut other = Outbox::<()>::new(None, in_flight);
        assert_eq!(other.admit(Store::Postgres), Admission::HeldBack, "the limit is that of all loops");
        assert_eq!(
            (outbox.admit(Store::Redis), other.admit(Store::Clickhouse)),
            (Admission::Admitted, Admission::Admitted)
        );
    }

    #[tokio::test]
    async fn calls_that_a_stop_leaves_behind_are_in_flight_no_more() {
        let in_flight = InFlight::default();
        let mut outbox = Outbox::<()>::new(None, in_flight.clone());
        let admitted = (0..MAX_IN_FLIGHT).filter(|_| outbox.admit(Store::Redis) == Admission::Admitted).count();
        assert_eq!(admitted, MAX_IN_FLIGHT);
        outbox.finish().await;
        assert_eq!(in_flight.admit(Store::Redis), Admission::Admitted);
    }
}
