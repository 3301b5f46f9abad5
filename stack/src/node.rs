//! One process of a service: how to start and stop it. This module starts nothing.

use std::{ffi::OsString, path::PathBuf};

/// One process of a service.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Name of the node, unique in the stack, and of its folder, log and record.
    pub(crate) name: String,
    pub(crate) ports: Vec<u16>,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(&'static str, OsString)>,
    /// Whether the program refuses to run as root and requires another user.
    pub(crate) refuses_root: bool,
    /// The signal for a graceful shutdown; `KILL` follows if it is ignored.
    pub(crate) stop: nix::sys::signal::Signal,
}
