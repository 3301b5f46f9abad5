//! `sluice ingest` as anybody starts it: the program of this build, a configuration file, one pipeline.

use std::time::Duration;

use anyhow::Context;
use sluice_schemas::stores::Ports;
use tokio::process::Command;

use crate::child::Program;
use crate::race::Lap;
use crate::world::{SLUICE, World};

/// What differs from one run to the other.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) batch: u64,
    /// Longest time that a record waits in an open batch.
    pub(crate) timer: Duration,
    /// Where ClickHouse is, where that is not the stack's own address.
    pub(crate) clickhouse: Option<String>,
}

/// Starts its process of this number, counted from 1, with the timer of the defaults.
pub(crate) fn start(world: &World, lap: &Lap, batch: u64, number: usize) -> anyhow::Result<Program> {
    let settings = Settings { batch, timer: Duration::from_secs(30), clickhouse: None };
    let mut command = command(world, lap, &settings, &[SLUICE])?;
    let port = page_port(world) + u16::try_from(number - 1).context("number a process")?;
    command.env("SLUICE_INGEST__LISTEN", format!("127.0.0.1:{port}"));
    Program::start(command, &lap.log_of(world, number))
}

/// Its command line, with `program` for what is started.
pub(crate) fn command(world: &World, lap: &Lap, settings: &Settings, program: &[&str]) -> anyhow::Result<Command> {
    let file = world.folder.join(format!("{}.toml", lap.table));
    std::fs::write(&file, text(world, lap, settings)).with_context(|| format!("write {}", file.display()))?;
    let (first, rest) = program.split_first().context("start nothing")?;
    let mut command = Command::new(first);
    command.args(rest).arg("--config").arg(file).args(["--log", "info", "ingest", "--until-stdin-closes"]);
    Ok(command)
}

/// Address of one of its pages.
pub(crate) fn page(world: &World, name: &str) -> String {
    format!("http://127.0.0.1:{}/{name}", page_port(world))
}

fn page_port(world: &World) -> u16 {
    Ports::new(world.port_base()).ingest_http()
}

/// Batches of many rows need more bytes than the default allows.
fn text(world: &World, lap: &Lap, settings: &Settings) -> String {
    let Lap { group, table, .. } = lap;
    let (base, namespace) = (world.port_base(), world.names.namespace());
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
