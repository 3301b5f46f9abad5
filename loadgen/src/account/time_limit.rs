//! How long a store may take for one of the account's requests. It counts only the store's own time, never what the
//! generator computes.

use std::time::Duration;

use super::error::AccountError;

/// Time in which a store must answer, however little it is asked for; a frozen one never does.
const BASE: Duration = Duration::from_mins(1);
/// Rows per second that a store must read at least.
const MIN_RATE: f64 = 20_000.0;

/// The time limit of each request.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit(Duration);

impl TimeLimit {
    /// The limit of a request that may read all of a table's `rows`.
    pub(super) fn for_rows(rows: u64) -> Self {
        Self(BASE + Duration::from_secs_f64(rows as f64 / MIN_RATE))
    }

    /// The result of a request, or an error that names the store.
    pub(super) async fn apply<T, E: Into<AccountError>>(
        self,
        store: &'static str,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, AccountError> {
        match tokio::time::timeout(self.0, request).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(AccountError::NoResponse { store, seconds: self.0.as_secs() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_named() {
        let never = std::future::pending::<Result<(), AccountError>>();
        let error = TimeLimit::for_rows(200_000).apply("ClickHouse", never).await.unwrap_err();
        assert_eq!(error.to_string(), "read the account from ClickHouse: no response in 70 s");
    }
}
