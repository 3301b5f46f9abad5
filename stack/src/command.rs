//! Runs the programs that the stack uses and waits for them, as another user where root is refused. Never detaches one;
//! [`crate::process`] does.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::layout::Layout;

/// A command of the stack, as another user where root is refused. Ends with whoever waits for it.
pub(crate) fn new(layout: &Layout, program: &Path, refuses_root: bool) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    if let Some(account) = layout.unprivileged().filter(|_| refuses_root) {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Runs a command to its end; the error is the last lines of what it said.
pub(crate) async fn run(mut command: Command) -> Result<(), String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.output().await.map_err(|e| format!("{program} could not be started: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|l| !l.trim().is_empty()).collect();
    Err(format!("{program} ended with {}: {}", output.status, lines[lines.len().saturating_sub(15)..].join("\n")))
}
