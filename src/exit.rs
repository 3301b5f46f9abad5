//! The exit codes, and how an error selects one: every verb returns `Result<Exit, Failure>`, and `main` turns that into
//! the exit code of the process. It prints nothing.

use std::process::ExitCode;

/// The exit codes of `sluice`, the same for every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success; for `verify`, every SLO is met and the account is exact.
    Pass = 0,
    /// An SLO is missed, a store failed, an answer was wrong or the account is not exact.
    Fail = 1,
    /// Too few samples to decide.
    Inconclusive = 2,
    /// The run could not be performed or judged: a store did not start, or the generator was at fault.
    Invalid = 3,
    /// Incorrect usage or configuration.
    Usage = 4,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error, and the exit code for it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong; its chain reads as one sentence.
    pub(crate) error: anyhow::Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Some errors include their cause already.
        let mut text = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if text.is_empty() {
                text = cause;
            } else if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        f.write_str(&text)
    }
}

/// By default, an error means that the run could not be performed.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Invalid, error: error.into() }
    }
}

/// Selects the exit code if the cause is known.
pub(crate) trait OrExit<T> {
    /// On an error, exit with `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}
