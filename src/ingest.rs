//! `sluice ingest`: runs an ingest worker until SIGTERM or Ctrl-C, upon which it drains and exits; and the operator's
//! verbs: `status | pause | resume | breaker reset` talk to running workers, `offsets | rebuild | audit` to the stores.
//! Nothing is consumed or written here: the `sluice-ingest` crate does the work.

mod audit;
mod offsets;
mod topic;
mod workers;

use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use sluice_ingest::clickhouse::client::ClickHouse;
use sluice_ingest::clickhouse::rebuild::rebuild_month;
use sluice_ingest::failure;
use sluice_schemas::names::Names;
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    signals,
};

/// Timeout of one query about a table.
const TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Drain and exit when standard input closes, so that a worker never outlives the run that started it
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a worker until stopped, as `sluice ingest` alone does
    Run,
    /// Show the state of the partitions of running workers
    Status(workers::Which),
    /// Stop consuming; records already consumed are written and committed. A restart resumes
    Pause(workers::Which),
    /// Undo `pause`
    Resume(workers::Which),
    /// Control the breaker, which stops a partition whose records cannot land
    #[command(subcommand)]
    Breaker(Breaker),
    /// Show the group's offsets, or change them while no worker runs
    #[command(subcommand)]
    Offsets(offsets::Verb),
    /// Recompute one month of a table's aggregates from its raw rows
    Rebuild(Rebuild),
    /// Prove that inserted + dead-lettered = consumed; exit code 1 if not. Read-only
    Audit(audit::Options),
}

#[derive(Debug, Subcommand)]
enum Breaker {
    /// Close open breakers; the next records, as many as the window holds, are not judged
    Reset(workers::Which),
}

#[derive(Debug, Args)]
struct Rebuild {
    /// Table with the raw rows
    table: String,
    /// Month of the rows: 202611, or 0 for a table that is not partitioned
    #[arg(value_parser = month)]
    month: u32,
}

/// Runs the verb in the namespace in effect; without a verb, a worker.
pub(crate) async fn run(options: Options, settings: Settings) -> Result<Exit, Failure> {
    match options.verb {
        None | Some(Verb::Run) => work(options.until_stdin_closes, settings).await,
        Some(Verb::Status(which)) => workers::status(&which, &settings).await,
        Some(Verb::Pause(which)) => workers::pause(&which, &settings).await,
        Some(Verb::Resume(which)) => workers::resume(&which, &settings).await,
        Some(Verb::Breaker(Breaker::Reset(which))) => workers::reset(&which, &settings).await,
        Some(Verb::Offsets(verb)) => Box::pin(offsets::run(verb, settings)).await,
        Some(Verb::Rebuild(what)) => rebuild(&what, &settings).await,
        Some(Verb::Audit(options)) => Box::pin(audit::run(&options, settings)).await,
    }
}

/// The worker itself.
async fn work(until_stdin_closes: bool, settings: Settings) -> Result<Exit, Failure> {
    let shutdown = signals::cancellation()?;
    if until_stdin_closes {
        // Neither Ctrl-C nor the raised priority of the run's session is meant for it. A leader of a process group can't leave.
        if let Err(error) = nix::unistd::setsid() {
            screen::note(&format!("this worker can't leave its session, so Ctrl-C reaches it too: {error}"));
        }
        end_with_stdin(shutdown.clone());
    }
    let names = settings.names();
    let summary = sluice_ingest::run(settings.ingest, settings.stores, names, shutdown).await?;
    for (topic, counts) in &summary.topics {
        let sluice_ingest::lane::summary::Counts { consumed, landed, dead_lettered } = counts;
        screen::print(&format!("{topic}: consumed {consumed}, landed {landed}, dead-lettered {dead_lettered}"))?;
    }
    if summary.is_late {
        screen::note("the drain deadline passed; what was not written or committed will be consumed again");
        return Ok(Exit::Fail);
    }
    Ok(Exit::Pass)
}

fn end_with_stdin(shutdown: CancellationToken) {
    // A separate thread: its read may never return, and must not delay the exit of the runtime.
    std::thread::spawn(move || {
        // Any end of the pipe counts, an error too: the process that started the worker is gone.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        shutdown.cancel();
    });
}

async fn rebuild(Rebuild { table, month }: &Rebuild, settings: &Settings) -> Result<Exit, Failure> {
    let names = settings.names();
    let clickhouse = ClickHouse::new(&settings.stores.clickhouse, &names.database(), TIMEOUT)?;
    let failed = |failure: failure::Failure| {
        let remedy = if failure.code == "unknown_database" { missing_database(&names) } else { String::new() };
        anyhow!("rebuild the aggregates of {table}: {failure}{remedy}")
    };
    let shape = clickhouse.shape(table).await.map_err(failed)?;
    let wrong = match (shape.columns.is_empty(), shape.partition_key.is_empty(), *month == 0) {
        (true, _, _) => Some("there is no such table; correct its name"),
        (_, true, false) => Some("it is not partitioned; write 0 for the month"),
        (_, false, true) => Some("it is partitioned; name a month"),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(anyhow!("rebuild the aggregates of {table}: {wrong}")).or_exit(Exit::Usage);
    }
    let views = rebuild_month(&clickhouse, table, *month, settings.ingest.rebuild_timeout).await.map_err(failed)?;
    screen::print(&match views {
        0 => format!("no view reads {table}, so there is nothing to rebuild"),
        1 => format!("rebuilt month {month} of the aggregate table of {table}"),
        views => format!("rebuilt month {month} of the {views} aggregate tables of {table}"),
    })?;
    Ok(Exit::Pass)
}

/// The remedy if the database does not exist: usually the namespace is not the intended one.
fn missing_database(names: &Names) -> String {
    let database = names.database();
    format!(
        "; there is no database {database}: name the namespace of the tables with --namespace or stores.namespace, or \
         create them with `sluice schemas apply`"
    )
}

/// A month in the form of a partition id.
fn month(text: &str) -> Result<u32, String> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let month =
        digits.parse().ok().filter(|month| *month == 0 || ((1..=12).contains(&(month % 100)) && digits.len() == 6));
    month.ok_or_else(|| "write 202611 or 2026-11, or 0 for a table that is not partitioned".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_written_with_or_without_a_dash() {
        assert_eq!((month("202611"), month("2026-11"), month("0")), (Ok(202_611), Ok(202_611), Ok(0)));
        for wrong in ["2026", "202613", "202600", "11-2026", "november", ""] {
            assert!(month(wrong).is_err(), "{wrong}");
        }
    }
}
