//! The local stores without Docker: fetches, starts, monitors and stops them.
//!
//! `main` first passes its arguments to [`serve_hidden_verb`]; after that, each verb is one call:
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
//! # Layout, bottom up
//! A module imports only from those above it.
//!
//! - [`service`]: the services by name; [`config`]: the `[stack]` section; [`error`]: why an operation failed
//! - `system`, `account`: processes, sockets and users of the machine
//! - [`layout`]: every path and port of one stack
//! - `command`: helper programs; `lock`: file locks; [`progress`]: progress on the terminal
//! - `artifact`: programs, downloaded with the registries' own clients
//! - `node`: one process of a service; `descriptor`: what the stack must know about a service
//! - `probe`: readiness queries over HTTP; `clickhouse_server`: the ClickHouse server, run by the current program
//! - `store`: one file per store
//! - `record`, `process`: processes that `up` started
//! - [`logs`], [`mod@status`], [`mod@down`], [`mod@up`]: the verbs
//! - [`keeper`]: leases, and the process that stops an idle stack
//! - `hidden_verb`: runs parts of the stack as processes of the current program

mod account;
mod artifact;
mod clickhouse_server;
mod command;
pub mod config;
mod descriptor;
pub mod down;
pub mod error;
mod hidden_verb;
pub mod keeper;
pub mod layout;
mod lock;
pub mod logs;
mod node;
mod probe;
mod process;
pub mod progress;
mod record;
pub mod service;
pub mod status;
mod store;
mod system;
pub mod up;

pub use config::Settings;
pub use down::{Wipe, down};
pub use error::Error;
pub use hidden_verb::serve_hidden_verb;
pub use keeper::{Lease, lease};
pub use layout::Layout;
pub use progress::Progress;
pub use service::Service;
pub use status::{ServiceStatus, State, status};
pub use up::up;
