//! What one run of a program says, and what it cost. It never interprets the output of a program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// What a run says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Questions that were answered.
    pub(crate) answered: u64,
    /// Median latency, in milliseconds.
    pub(crate) p50: f64,
    /// 95th percentile.
    pub(crate) p95: f64,
    /// Processor time of the program and its children.
    pub(crate) cpu: Duration,
}

impl Outcome {
    /// Processor time for each question, in microseconds.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.answered as f64
    }
}

/// Runs a program in a folder until it ends; returns its output and its processor time.
///
/// # Errors
/// It can't be started, or doesn't end with 0.
pub(crate) fn run(command: &mut Command, folder: &Path) -> anyhow::Result<(String, Duration)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let before = children_cpu()?;
    let output = command.current_dir(folder).stdin(Stdio::null()).output().with_context(|| format!("run {name}"))?;
    let cpu = children_cpu()?.saturating_sub(before);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "run {name}: {}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
    Ok((text(&output.stdout), cpu))
}

/// Processor time of all children that have ended: the bench runs one at a time.
fn children_cpu() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("read the processor time of children")?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.cast_unsigned()))
}
