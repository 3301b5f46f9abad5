//! `sluice logs STORE`: the end of a store's own log, and what is added to it.

use anyhow::{Context, anyhow};
use clap::Args;
use sluice_stack::{Layout, Service};

use crate::{
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    signals,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The store: postgres, kafka, connect, clickhouse, elasticsearch, redis-cache, redis-state, s3
    store: String,
    /// How many lines of each of its log files
    #[arg(short = 'n', long, default_value_t = 50)]
    lines: usize,
    /// Go on showing what is added, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Shows the log.
pub(crate) async fn run(options: &Options, settings: &Settings) -> Result<Exit, Failure> {
    let service: Service = options.store.parse().context("choose the store").or_exit(Exit::Usage)?;
    let layout = Layout::new(&settings.stack).context("lay out the stack")?;
    if sluice_stack::logs::files(&layout, service).is_empty() {
        let error = anyhow!("show the log of {service}: it was never started here; `sluice up --only {service}` does");
        return Err(error).or_exit(Exit::Invalid);
    }
    screen::say(&sluice_stack::logs::tail(&layout, service, options.lines))?;
    if options.follow {
        let interrupted = signals::cancellation()?;
        let added = sluice_stack::logs::follow(&layout, service, |text| screen::say(text).is_ok());
        interrupted.run_until_cancelled(added).await.transpose()?;
    }
    Ok(Exit::Pass)
}
