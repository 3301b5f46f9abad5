//! pgbench, which starts transactions at a rate (`-R`) and counts their latency from the time at which each was due.
//! This module computes percentiles from its log and times no transaction.

use std::process::Command;

use anyhow::Context;

use crate::asked::{Asked, CONNECTIONS, KEYS, Testbed};
use crate::options::Options;
use crate::outcome::{self, Outcome};

const SCRIPT: &str = "script.sql";
const LOG: &str = "latencies";

/// Runs it; its log has a line for each transaction.
pub(crate) fn run(testbed: &Testbed, options: &Options) -> anyhow::Result<Outcome> {
    let script = format!("\\set id random(1, {KEYS})\nSELECT value FROM asked WHERE id = :id;\n");
    std::fs::write(testbed.folder.join(SCRIPT), script).context("write pgbench's script")?;
    let server = &testbed.stores.postgres;
    let mut command = Command::new("pgbench");
    command.args(["--no-vacuum", "--protocol=prepared", "--log", "--jobs=1"]);
    command.arg(format!("--log-prefix={LOG}")).arg(format!("--file={SCRIPT}"));
    command.arg(format!("--rate={}", Asked::Postgres.rate())).arg(format!("--time={}", options.seconds));
    command.arg(format!("--client={CONNECTIONS}")).args(["--host", &server.host]);
    command.arg(format!("--port={}", server.port)).args(["--username", testbed.reader()]);
    command.arg(testbed.names.database()).env("PGPASSWORD", server.reader.password.reveal());
    let (_, cpu) = outcome::run(&mut command, &testbed.folder)?;
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(&testbed.folder).context("find pgbench's log")? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LOG)) {
            let log = std::fs::read_to_string(&path).context("read pgbench's log")?;
            std::fs::remove_file(&path).context("remove pgbench's log")?;
            latencies.extend(log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()));
        }
    }
    latencies.sort_unstable();
    let at = |quantile: f64| {
        let index = (latencies.len() as f64 * quantile) as usize;
        latencies.get(index).map(|micros| *micros as f64 / 1e3).context("read latencies of pgbench")
    };
    Ok(Outcome { answered: latencies.len() as u64, p50: at(0.5)?, p95: at(0.95)?, cpu })
}
