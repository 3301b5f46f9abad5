//! `sluice ingest` as a user starts it: the program of this build, a configuration file, one pipeline. It never waits
//! until the worker is ready.

use std::time::Duration;

use anyhow::Context;
use sluice_schemas::stores::Ports;
use tokio::process::Command;

use crate::child::Program;
use crate::testbed::{SLUICE, Testbed};
use crate::trial::Trial;

/// Settings that differ between trials.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) batch: u64,
    /// Maximum time that a record waits in an open batch.
    pub(crate) timer: Duration,
    /// ClickHouse's URL, if it is not the stack's own.
    pub(crate) clickhouse: Option<String>,
}

/// Starts the process with this number, counted from 1, with the default timer.
pub(crate) fn start(testbed: &Testbed, trial: &Trial, batch: u64, number: usize) -> anyhow::Result<Program> {
    let settings = Settings { batch, timer: Duration::from_secs(30), clickhouse: None };
    let mut command = command(testbed, trial, &settings, &[SLUICE])?;
    let port = page_port(testbed) + u16::try_from(number - 1).context("number a process")?;
    command.env("SLUICE_INGEST__LISTEN", format!("127.0.0.1:{port}"));
    Program::start(command, &trial.process_log(testbed, number))
}

/// The command line; `program` is the executable with any wrapper before it.
pub(crate) fn command(
    testbed: &Testbed,
    trial: &Trial,
    settings: &Settings,
    program: &[&str],
) -> anyhow::Result<Command> {
    let file = testbed.folder.join(format!("{}.toml", trial.table));
    std::fs::write(&file, text(testbed, trial, settings)).with_context(|| format!("write {}", file.display()))?;
    let (first, rest) = program.split_first().context("start a program: its command line is empty")?;
    let mut command = Command::new(first);
    command.args(rest).arg("--config").arg(file).args(["--log", "info", "ingest", "--until-stdin-closes"]);
    Ok(command)
}

/// URL of one of its HTTP pages.
pub(crate) fn page(testbed: &Testbed, name: &str) -> String {
    format!("http://127.0.0.1:{}/{name}", page_port(testbed))
}

fn page_port(testbed: &Testbed) -> u16 {
    Ports::new(testbed.port_base()).ingest_http()
}

/// The configuration file. Batches of many rows need more bytes than the default allows.
fn text(testbed: &Testbed, trial: &Trial, settings: &Settings) -> String {
    let Trial { group, table, .. } = trial;
    let (base, namespace) = (testbed.port_base(), testbed.names.namespace());
    let bytes = if settings.batch > 10_000 { "32 MiB" } else { "8 MiB" };
    let clickhouse = settings.clickhouse.as_ref().map(|url| format!("[stores.clickhouse]\nurl = \"{url}\"\n"));
    format!(
        "[stack]\nport_base = {base}\n[stores]\nnamespace = \"{namespace}\"\n{}\
         [ingest]\ngroup = \"{group}\"\nmemory_budget = \"256 MiB\"\n\
         [ingest.pipelines.agent-metrics]\nenabled = false\n\
         [ingest.pipelines.customer-interactions]\nenabled = false\n\
         [ingest.pipelines.communication-events]\ntable = \"{table}\"\nmax_rows = {}\nmax_age = \"{}ms\"\n\
         max_bytes = \"{bytes}\"\n",
        clickhouse.unwrap_or_default(),
        settings.batch,
        settings.timer.as_millis(),
    )
}
