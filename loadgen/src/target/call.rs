//! What a call spends its time on besides its own store: the wait for a connection of its client, and the store behind a cache; and how
//! long it may take. All of it belongs to the call, so it is kept with its task, and few questions need to know of it.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::measure::Backing;

/// What is known of a call.
struct Call {
    waited: Cell<Duration>,
    backing: Cell<Duration>,
    outcome: Cell<Backing>,
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
    /// The time that it asked the store behind its own, and whether that answered.
    backing: (Duration, Backing),
}

impl Spent {
    /// Whose a failure is of a call that took so long. A call that is late is the fault of the store that most of its time was spent in.
    pub(crate) fn backing(&self, took: Duration) -> Backing {
        match self.backing {
            (spent, Backing::Answered) if spent > took / 2 => Backing::Failed,
            (_, backing) => backing,
        }
    }
}

/// Runs a call, which may take as long as `limit` if there is one, and returns its result with what it spent its time on.
pub(crate) async fn measure<T>(limit: Option<Duration>, call: impl Future<Output = T>) -> (T, Spent) {
    let measured = async {
        let result = call.await;
        let spent =
            |call: &Call| Spent { waited: call.waited.get(), backing: (call.backing.get(), call.outcome.get()) };
        (result, CALL.with(spent))
    };
    let call = Call { waited: Cell::default(), backing: Cell::default(), outcome: Cell::default(), limit };
    CALL.scope(call, measured).await
}

/// Asks the store behind the call's own. Outside of a call, nothing is counted.
pub(crate) async fn ask_backing_store<T, E>(asking: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let started = Instant::now();
    // Until it answers: a call may be given up meanwhile.
    CALL.try_with(|call| call.outcome.set(Backing::Failed)).ok();
    let result = asking.await;
    if result.is_ok() {
        let answered = |call: &Call| {
            call.backing.set(started.elapsed());
            call.outcome.set(Backing::Answered);
        };
        CALL.try_with(answered).ok();
    }
    result
}

/// How long the call that runs may take; `None` without a limit, and outside of a call.
pub(crate) fn limit() -> Option<Duration> {
    CALL.try_with(|call| call.limit).ok().flatten()
}

/// A wait of the call that runs, from its creation until it is dropped: also by a call that is given up while it waits. Outside
/// of a call, nothing is counted.
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
        // An error means that no call is measured.
        CALL.try_with(|call| call.waited.set(call.waited.get() + own)).ok();
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
        assert_eq!(spent.backing(Duration::from_millis(8)), Backing::NotAsked);
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
            measure(None, call).await.1.backing(Duration::from_millis(10))
        };
        assert_eq!(asking(4, Ok(())).await, Backing::Answered);
        assert_eq!(asking(6, Ok(())).await, Backing::Failed);
        assert_eq!(asking(1, Err(())).await, Backing::Failed);
        let never = ask_backing_store(std::future::pending::<Result<(), ()>>());
        let (_, spent) = measure(None, tokio::time::timeout(Duration::from_secs(1), never)).await;
        assert_eq!(spent.backing(Duration::from_secs(1)), Backing::Failed);
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
