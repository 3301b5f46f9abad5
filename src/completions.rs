//! `sluice completions SHELL`: prints the completion script. It installs nothing.

use clap::Command;
use clap_complete::Shell;

use crate::{
    exit::{Exit, Failure},
    screen,
};

/// Prints the script.
pub(crate) fn print(shell: Shell, command: &mut Command) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, "sluice", &mut script);
    screen::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Pass)
}
