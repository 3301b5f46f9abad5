//! One process of a service, as it is to be started. Starts nothing.

use std::{ffi::OsString, path::PathBuf};

/// One process of a service.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Unique in the stack; names the folder, the log and the record.
    pub(crate) name: String,
    pub(crate) ports: Vec<u16>,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// Refuses to run as root, so it gets another user then.
    pub(crate) refuses_root: bool,
    /// Asks the process to end; `KILL` follows when it does not.
    pub(crate) stop: nix::sys::signal::Signal,
}
