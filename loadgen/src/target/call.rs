//! What a call spends its time on besides its own store: the wait for a connection of its client, and the store behind
//! a cache; and how long it may take. All of it belongs to the call, so it is kept with its task, and few questions
//! need to know of it. This module never ends a call that takes too long.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::measure::{Backing, Outcome};

/// What is known of a call.
struct Call {
    spent: Cell<Spent>,
    limit: Option<Duration>,
}

tokio::task_local! {
    static CALL: Call;
}

/// What a call spent its time on besides its own store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// The time that it waited for connections.
    pub(crate) waited: Duration,
    /// The time that it asked the store behind its own.
    in_backing: Duration,
    /// What that store did.
    backing: Backing,
}

impl Spent {
    /// What the store behind did in a call with that outcome, which took so long. A late call is the fault of the store that most of its
    /// time was spent in; an error is that of the store that returned it.
    pub(crate) fn backing(&self, outcome: Outcome, took: Duration) -> Backing {
        match (self.backing, outcome) {
            (Backing::NotAsked, _) => Backing::NotAsked,
            (_, Outcome::TimedOut) if self.in_backing > took / 2 => Backing::Failed,
            (_, Outcome::TimedOut) => Backing::Answered,
            (backing, _) => backing,
        }
    }
}

/// Runs a call, which may take as long as `limit` if there is one, and returns its result with what it spent its time on.
pub(crate) async fn measure<T>(limit: Option<Duration>, call: impl Future<Output = T>) -> (T, Spent) {
    let measured = async { (call.await, CALL.with(|call| call.spent.get())) };
    CALL.scope(Call { spent: Cell::default(), limit }, measured).await
}

/// Notes what the call that runs spent; outside of a call, nothing is noted.
fn note(change: impl FnOnce(&mut Spent)) {
    let noted = |call: &Call| {
        let mut spent = call.spent.get();
        change(&mut spent);
        call.spent.set(spent);
    };
    // An error means that no call is measured.
    CALL.try_with(noted).ok();
}

/// Asks the store behind the call's own.
pub(crate) async fn ask_backing_store<T, E>(asking: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // Until it answers: a call may be given up meanwhile.
    note(|spent| spent.backing = Backing::Failed);
    let result = {
        let _time = Asking(Instant::now());
        asking.await
    };
    if result.is_ok() {
        note(|spent| spent.backing = Backing::Answered);
    }
    result
}

/// The time in which the store behind is asked, until it is dropped: also by a call that is given up.
struct Asking(Instant);

impl Drop for Asking {
    fn drop(&mut self) {
        note(|spent| spent.in_backing = self.0.elapsed());
    }
}

/// How long the call that runs may take; `None` without a limit, and outside of a call.
pub(crate) fn limit() -> Option<Duration> {
    CALL.try_with(|call| call.limit).ok().flatten()
}

/// A wait of the call that runs, from its creation until it is dropped: also by a call that is given up while it waits.
pub(crate) struct Wait<F: Fn(Instant, Instant) -> Duration> {
    started: Instant,
    not_own: F,
}

impl<F: Fn(Instant, Instant) -> Duration> Wait<F> {
    /// Starts to wait. `not_own` is the part of a time that is not to be counted.
    pub(crate) fn start(not_own: F) -> Self {
        Self { started: Instant::now(), not_own }
    }
}

impl<F: Fn(Instant, Instant) -> Duration> Drop for Wait<F> {
    fn drop(&mut self) {
        let now = Instant::now();
        let own = (now - self.started).saturating_sub((self.not_own)(self.started, now));
        note(|spent| spent.waited += own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waits_within_the_call_are_counted() {
        let pause = || tokio::time::advance(Duration::from_millis(2));
        let wait = async |not_own| {
            let _wait = Wait::start(move |_, _| Duration::from_millis(not_own));
            pause().await;
        };
        wait(0).await;
        let call = async {
            pause().await;
            wait(0).await;
            wait(1).await;
        };
        let ((), spent) = measure(None, call).await;
        assert_eq!(spent.waited, Duration::from_millis(3));
        assert_eq!(spent.backing(Outcome::TimedOut, Duration::from_millis(8)), Backing::NotAsked);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_that_of_the_store_behind_if_it_failed_or_took_most_of_the_time() {
        let asking = async |millis, result: Result<(), ()>| {
            let call = async {
                ask_backing_store(async {
                    tokio::time::advance(Duration::from_millis(millis)).await;
                    result
                })
                .await
            };
            let spent = measure(None, call).await.1;
            [Outcome::TimedOut, Outcome::Error].map(|outcome| spent.backing(outcome, Duration::from_millis(10)))
        };
        assert_eq!(asking(4, Ok(())).await, [Backing::Answered; 2]);
        assert_eq!(asking(6, Ok(())).await, [Backing::Failed, Backing::Answered], "the error came afterwards");
        assert_eq!(asking(1, Err(())).await, [Backing::Answered, Backing::Failed]);
        let given_up = async |before, after| {
            let never = async {
                tokio::time::sleep(Duration::from_secs(before)).await;
                ask_backing_store(std::future::pending::<Result<(), ()>>()).await
            };
            let took = Duration::from_secs(before + after);
            measure(None, tokio::time::timeout(took, never)).await.1.backing(Outcome::TimedOut, took)
        };
        assert_eq!([given_up(1, 31).await, given_up(31, 1).await], [Backing::Failed, Backing::Answered]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_counts() {
        let never = async {
            let _wait = Wait::start(|_, _| Duration::ZERO);
            std::future::pending::<()>().await;
        };
        let limited = tokio::time::timeout(Duration::from_secs(2), never);
        let (result, spent) = measure(None, limited).await;
        assert!(result.is_err() && spent.waited == Duration::from_secs(2), "{spent:?}");
    }
}
