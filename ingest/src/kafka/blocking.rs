//! Runs work that blocks, as most calls of librdkafka do, off the runtime's threads.

use std::panic::resume_unwind;

/// Runs `work` on a thread that may block. A panic in `work` continues in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down and drops this future as well.
            Err(_) => std::future::pending().await,
        },
    }
}
