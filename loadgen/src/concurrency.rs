//! Small helpers for threads: blocking work off the async runtime, panics that propagate, locks that are never poisoned.
//! Never starts a thread of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::JoinError;

/// Runs blocking work off the async runtime and returns its result. A panic in it propagates to the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    propagate_panic(tokio::task::spawn_blocking(work).await)
}

/// The result of a task that is never aborted. A panic in it propagates to the caller.
pub(crate) fn propagate_panic<T>(joined: Result<T, JoinError>) -> T {
    match joined {
        Ok(result) => result,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// Locks data that is valid after every single write, so a panic of another holder leaves it usable.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
