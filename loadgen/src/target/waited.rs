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

/// Waits for a connection, and counts the time for the call that runs; outside of a call, nothing is counted.
pub(crate) async fn count<T>(connecting: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let connection = connecting.await;
    // An error means that no call is measured.
    WAITED.try_with(|waited| waited.set(waited.get() + started.elapsed())).ok();
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waits_within_the_call_are_counted() {
        let pause = || tokio::time::advance(Duration::from_millis(2));
        count(pause()).await;
        let call = async {
            pause().await;
            count(pause()).await;
            count(pause()).await;
        };
        let ((), waited) = measure(call).await;
        assert_eq!(waited, Duration::from_millis(4));
    }
}
