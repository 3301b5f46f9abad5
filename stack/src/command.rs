//! Runs helper programs to completion, as an unprivileged user if they refuse root. It never detaches one;
//! [`crate::process`] does.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use crate::layout::Layout;

/// A command without input that is killed when it is dropped; an unprivileged user runs it if `refuses_root`.
pub(crate) fn new(layout: &Layout, program: &Path, refuses_root: bool) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    if let Some(account) = layout.unprivileged().filter(|_| refuses_root) {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Runs a command to completion; the error contains the last lines of its output.
pub(crate) async fn run(mut command: Command) -> Result<(), String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.output().await.map_err(|e| format!("{program} could not be started: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    let lines: Vec<&str> = printed.lines().filter(|l| !l.trim().is_empty()).collect();
    Err(format!("{program} exited with {}: {}", output.status, lines[lines.len().saturating_sub(15)..].join("\n")))
}
