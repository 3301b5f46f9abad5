//! A program in a separate process: its output goes to a file, it can be asked to finish, and it is killed when dropped. A
//! program is never restarted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::proc;

/// How long a program may take to exit after it was asked to finish.
const EXIT_TIMEOUT: Duration = Duration::from_mins(1);
/// Maximum number of output lines in an error.
const MAX_LINES: usize = 15;

/// A running program.
pub(crate) struct Program {
    child: Child,
    pid: u32,
    log: PathBuf,
    peak: u64,
}

impl Program {
    /// Starts the program with its output in `log`. Its standard input stays open until it is asked to finish.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone().with_context(|| format!("write {}", log.display()))?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", command.as_std().get_program().display()))?;
        let pid = child.id().context("start a program: it exited at once")?;
        Ok(Self { child, pid, log: log.to_owned(), peak: 0 })
    }

    /// Process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails if the program has exited.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.peak = self.peak.max(proc::peak(self.pid).unwrap_or(0));
        match self.child.try_wait().context("check a program")? {
            None => Ok(()),
            Some(status) => bail!("keep a program running: it exited with {status}; {}", self.last_lines()),
        }
    }

    /// Peak resident memory so far, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.max(proc::peak(self.pid).unwrap_or(0))
    }

    /// Asks the program to write its open batches and exit: closes its standard input and sends SIGTERM.
    pub(crate) fn finish(&mut self) {
        drop(self.child.stdin.take());
        // It may have exited already.
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM).ok();
    }

    /// Asks the program to finish and waits until it exits; kills it after a timeout.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.finish();
        if timeout(EXIT_TIMEOUT, self.child.wait()).await.is_err() {
            self.child.kill().await.context("stop a program")?;
        }
        Ok(())
    }

    /// Everything that the program has printed.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_lines(&self) -> String {
        let text = self.output();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(MAX_LINES)..];
        format!("the end of {}:\n{}", self.log.display(), tail.join("\n"))
    }
}
