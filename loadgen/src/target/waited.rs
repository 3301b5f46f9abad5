//! The time that one call waits for a connection of its own client, which is not the store's. It belongs to the call, so it is
//! kept with its task, and no question needs to know of it. It never measures the store.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static WAITED: Cell<Duration>;
}

/// Runs a call, and returns its result with the time that it waited for connections.
pub(crate) async fn measure<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let measured = async {
        let result = call.await;
        (result, WAITED.with(Cell::get))
    };
    WAITED.scope(Cell::new(Duration::ZERO), measured).await
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
        WAITED.try_with(|waited| waited.set(waited.get() + own)).ok();
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
        let ((), waited) = measure(call).await;
        assert_eq!(waited, Duration::from_millis(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_counts() {
        let never = async {
            let _wait = Wait::start(|_, _| Duration::ZERO);
            std::future::pending::<()>().await;
        };
        let limited = tokio::time::timeout(Duration::from_secs(2), never);
        let (result, waited) = measure(limited).await;
        assert!(result.is_err() && waited == Duration::from_secs(2), "{waited:?}");
    }
}
