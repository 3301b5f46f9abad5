//! Waiting for a condition with a deadline, instead of for time to pass.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// What a condition may answer: `bool`, `Option<T>`, or `Result<T, E>` whose last error is shown.
pub trait Outcome {
    /// What is there once the condition holds.
    type Value;

    /// The value, or why it is not there yet.
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

/// Asks until the condition holds and returns what it found.
///
/// # Panics
/// When it does not hold within `deadline`; the message has `what` and the last answer.
pub async fn eventually<F, Fut>(deadline: Duration, what: &str, mut condition: F) -> <Fut::Output as Outcome>::Value
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    let begun = Instant::now();
    loop {
        match condition().await.outcome() {
            Ok(value) => return value,
            Err(why) => assert!(begun.elapsed() < deadline, "{what}: not within {deadline:?}, last: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_asks_until_there_is_an_answer() {
        let mut asked = 0;
        let value = eventually(Duration::from_secs(5), "the third answer", || {
            asked += 1;
            let answer = if asked == 3 { Ok(asked) } else { Err("too early") };
            async move { answer }
        })
        .await;
        assert_eq!(value, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "pigs fly: not within 100ms, last: not yet")]
    async fn it_gives_up() {
        eventually(Duration::from_millis(100), "pigs fly", || async { false }).await;
    }
}
