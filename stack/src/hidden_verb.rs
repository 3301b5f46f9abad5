//! The hidden verbs, with which the stack runs parts of itself as processes of the current program. No other verb is
//! parsed here.

use std::{ffi::OsString, process::ExitCode};

use crate::{clickhouse_server, error::Error, keeper};

/// Serves a hidden verb; returns `None` for any other command line. `args` are the process's arguments, including its
/// name. Call it first in `main`, before any thread exists.
pub fn serve_hidden_verb(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let verb = args.next()?;
    let result = match verb.to_str()? {
        clickhouse_server::VERB => clickhouse_server::serve(args),
        keeper::VERB => keeper::serve(args).map(|()| 0),
        _ => return None,
    };
    Some(match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            print(&error);
            ExitCode::FAILURE
        }
    })
}

#[expect(clippy::print_stderr, reason = "standard error is the log file of a hidden verb")]
fn print(error: &Error) {
    eprintln!("error: failed to serve a part of the stack: {error}");
}
