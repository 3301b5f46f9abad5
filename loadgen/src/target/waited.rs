//! The time that one call waits for a connection of its own client, which is not the store's, and how long the call may take. Both belong
//! to the call, so they are kept with its task, and no question needs to know of them. It never measures the store.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// What is known of a call.
struct Call {
    waited: Cell<Duration>,
    limit: Option<Duration>,
}

tokio::task_local! {
    static CALL: Call;
}

/// Runs a call, which may take as long as `limit` if there is one, and returns its result with the time that it waited for connections.
pub(crate) async fn measure<T>(limit: Option<Duration>, call: impl Future<Output = T>) -> (T, Duration) {
    let measured = async {
        let result = call.await;
        (result, CALL.with(|call| call.waited.get()))
    };
    CALL.scope(Call { waited: Cell::new(Duration::ZERO), limit }, measured).await
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
        let ((), waited) = measure(None, call).await;
        assert_eq!(waited, Duration::from_millis(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_counts() {
        let never = async {
            let _wait = Wait::start(|_, _| Duration::ZERO);
            std::future::pending::<()>().await;
        };
        let limited = tokio::time::timeout(Duration::from_secs(2), never);
        let (result, waited) = measure(None, limited).await;
        assert!(result.is_err() && waited == Duration::from_secs(2), "{waited:?}");
    }
}
