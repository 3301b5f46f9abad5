//! Polling a condition with a deadline, instead of sleeping.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// What a condition may return: `bool`, `Option<T>`, or `Result<T, E>` whose last error is shown.
pub trait Outcome {
    /// The value once the condition holds.
    type Value;

    /// The value, or why the condition does not hold yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("not yet".to_owned()) }
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "not yet".to_owned())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|e| format!("{e:?}"))
    }
}

/// Polls every 50 ms until the condition holds and returns its value.
///
/// # Panics
/// If it does not hold within `deadline`; the message contains `what` and the last outcome.
pub async fn eventually<F, Fut>(deadline: Duration, what: &str, mut condition: F) -> <Fut::Output as Outcome>::Value
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    let started = Instant::now();
    loop {
        match condition().await.outcome() {
            Ok(value) => return value,
            Err(why) => assert!(started.elapsed() < deadline, "{what}: not within {deadline:?}, last: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eventually_polls_until_the_condition_holds() {
        let mut polls = 0;
        let value = eventually(Duration::from_secs(5), "the third poll succeeds", || {
            polls += 1;
            let outcome = if polls == 3 { Ok(polls) } else { Err("too early") };
            async move { outcome }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "pigs fly: not within 100ms, last: not yet")]
    async fn eventually_panics_at_the_deadline() {
        eventually(Duration::from_millis(100), "pigs fly", || async { false }).await;
    }
}
