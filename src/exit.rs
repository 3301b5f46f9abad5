//! What an exit code says, and how an error finds its own: every verb returns `Result<Exit, Failure>`,
//! `main` turns that into the process's exit code. Prints nothing.

use std::process::ExitCode;

/// The exit codes of `sluice`, the same for every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It worked; for `verify`, every SLO holds and the account balances.
    Pass = 0,
    /// An SLO does not hold, a store broke, an answer was wrong or the account does not balance.
    Fail = 1,
    /// Too few samples to decide.
    Inconclusive = 2,
    /// The run could not be made or judged: a store did not come up, or the generator was at fault.
    Invalid = 3,
    /// Wrong usage or configuration.
    Usage = 4,
    /// Stopped by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error, and the exit code it ends the process with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// What went wrong; its chain reads as one sentence.
    pub(crate) error: anyhow::Error,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Some errors say their cause themselves; it is not said twice.
        let mut said = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if said.is_empty() {
                said = cause;
            } else if !said.contains(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        f.write_str(&said)
    }
}

/// Without a better word, an error means that the run could not be made.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Invalid, error: error.into() }
    }
}

/// Chooses the exit code where the cause is known.
pub(crate) trait OrExit<T> {
    /// On an error, end with `exit`.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}
