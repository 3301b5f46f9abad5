//! A program in a process of its own: started with its output in a file, asked to finish, ended for good when dropped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::watch;

/// How long a program may take to end once it was asked to.
const PATIENCE: Duration = Duration::from_mins(1);
/// Lines of its output that an error shows.
const LAST_LINES: usize = 15;

/// A running program.
pub(crate) struct Program {
    child: Child,
    pid: u32,
    log: PathBuf,
    peak: u64,
}

impl Program {
    /// Starts it; what it says goes to `log`. Its standard input closes when it is asked to finish.
    pub(crate) fn start(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone().with_context(|| format!("write {}", log.display()))?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", command.as_std().get_program().display()))?;
        let pid = child.id().context("start a program: it ended at once")?;
        Ok(Self { child, pid, log: log.to_owned(), peak: 0 })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.peak = self.peak.max(watch::peak(self.pid).unwrap_or(0));
        match self.child.try_wait().context("watch a program")? {
            None => Ok(()),
            Some(status) => bail!("keep a program running: it ended with {status}; {}", self.last_words()),
        }
    }

    /// Most memory it was seen to have resident.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.max(watch::peak(self.pid).unwrap_or(0))
    }

    /// Asks it to write what it has: its standard input closes, and it gets SIGTERM.
    pub(crate) fn finish(&mut self) {
        drop(self.child.stdin.take());
        // It may have ended by itself already.
        kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM).ok();
    }

    /// Waits for its end, and ends it where it does not come.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        self.finish();
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.child.kill().await.context("end a program")?;
        }
        Ok(())
    }

    /// All that it has said.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let text = self.output();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LAST_LINES)..];
        format!("the end of {}:\n{}", self.log.display(), tail.join("\n"))
    }
}
