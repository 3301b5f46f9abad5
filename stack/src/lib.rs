//! The local stores without Docker: fetch, start, watch and stop.
//!
//! `main` hands its arguments to [`reexecuted`] before anything else; after that the verbs are one call each:
//!
//! ```no_run
//! # async fn verbs() -> Result<(), sluice_stack::Error> {
//! use sluice_stack as stack;
//!
//! let layout = stack::Layout::new(&stack::Settings::default())?;
//! let progress = stack::Progress::stderr();
//! stack::up(&layout, stack::Service::DEFAULT, &progress).await?;
//! let status = stack::status(&layout).await?;
//! let _text = stack::status::table(&status);
//! stack::down(&layout, stack::Wipe::No, &progress).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//! - [`config`]: the `[stack]` section
//! - [`layout`]: every path and port of one stack
//! - [`store`]: one descriptor per store: version, ports, programs, command line, readiness query
//! - [`mod@up`], [`mod@down`], [`mod@status`], [`logs`]: the verbs
//! - [`keeper`]: leases, and the process that stops an idle stack
//! - [`clickhouse_server`]: the ClickHouse server inside a process of this very program
//! - [`progress`], [`error`]

mod artifact;
pub mod clickhouse_server;
pub mod config;
pub mod down;
pub mod error;
pub mod keeper;
pub mod layout;
mod lock;
pub mod logs;
mod probe;
mod process;
pub mod progress;
mod record;
pub mod status;
pub mod store;
mod system;
pub mod up;

use std::{ffi::OsString, process::ExitCode};

pub use config::Settings;
pub use down::{Wipe, down};
pub use error::Error;
pub use keeper::{Lease, lease};
pub use layout::Layout;
pub use progress::Progress;
pub use status::{ServiceStatus, State, status};
pub use store::Service;
pub use up::up;

/// Free room on the disk that holds a stack's data, MiB.
pub fn free_mib(layout: &Layout) -> Option<u64> {
    system::free_mib(layout.state_dir())
}

/// Hidden verb that runs the ClickHouse server.
pub(crate) const HIDDEN_CLICKHOUSE: &str = "__clickhouse";
/// Hidden verb that runs a stack's keeper.
pub(crate) const HIDDEN_KEEPER: &str = "__keeper";

/// Serves the hidden verbs under which the stack runs parts of itself from this very program; nothing for every other
/// command line. `args` are those of the process, its own name first. To be called first thing in `main`, before any
/// thread exists.
pub fn reexecuted(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let verb = args.next()?;
    let result = match verb.to_str()? {
        HIDDEN_CLICKHOUSE => clickhouse_server::serve(args),
        HIDDEN_KEEPER => keeper::serve(args).map(|()| 0),
        _ => return None,
    };
    Some(match result {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    })
}

#[expect(clippy::print_stderr, reason = "standard error is the log file of a hidden verb")]
fn complain(error: &Error) {
    eprintln!("error: failed to serve a part of the stack: {error}");
}
