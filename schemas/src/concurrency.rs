//! Blocking work off the async runtime, panics that propagate to the waiting task, locks that are never poisoned.
//! This module never starts its own threads and never swallows a panic.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{JoinHandle, spawn_blocking};

/// Runs `work` on a thread that may block, as most calls of librdkafka do. A panic in it propagates to the caller.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(spawn_blocking(work)).await
}

/// The result of a task that is never aborted. A panic in it propagates to the caller.
pub async fn join<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime shuts down and drops this future as well.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Locks data that is valid after every single write, so a panic of another holder leaves it usable.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
