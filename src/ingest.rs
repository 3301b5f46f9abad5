//! `sluice ingest`: the ingest worker, until SIGTERM or Ctrl-C; then it drains and ends.

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Exit, Failure},
    screen,
    settings::Settings,
    signals,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Drain and end when standard input closes, so that a worker never outlives the run that started it
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Runs the pipelines of `[ingest]` in the namespace in force.
pub(crate) async fn run(options: Options, settings: Settings) -> Result<Exit, Failure> {
    let shutdown = signals::cancellation()?;
    if options.until_stdin_closes {
        end_with_stdin(shutdown.clone());
    }
    let names = settings.names();
    let summary = sluice_ingest::run(settings.ingest, settings.stores, names, shutdown).await?;
    for (topic, counts) in &summary.topics {
        let sluice_ingest::Counts { consumed, landed, dead_lettered } = counts;
        screen::say(&format!("{topic}: consumed {consumed}, landed {landed}, dead-lettered {dead_lettered}"))?;
    }
    Ok(Exit::Pass)
}

fn end_with_stdin(shutdown: CancellationToken) {
    // A thread of its own: it may never come back from its read, and must not hold the runtime's end up.
    std::thread::spawn(move || {
        // Any end of the pipe counts, an error as well: nobody is left who could ask for more.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        shutdown.cancel();
    });
}
