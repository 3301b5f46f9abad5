//! `sluice logs STORE`: the end of a store's log, and what is appended to it. It reads the local stack's files, and no
//! other server's.

use anyhow::{Context, anyhow};
use clap::Args;
use sluice_stack::{Layout, Service};

use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    signals,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The store: postgres, kafka, connect, clickhouse, elasticsearch, redis-cache, redis-state, s3
    store: String,
    /// Number of lines to show from each of its log files
    #[arg(short = 'n', long, default_value_t = 50, value_parser = arguments::whole_number::<usize>(0..))]
    lines: usize,
    /// Show what is appended, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Prints the log.
pub(crate) async fn run(options: &Options, settings: &Settings) -> Result<Exit, Failure> {
    let service: Service = options.store.parse().context("choose the store").or_exit(Exit::Usage)?;
    let layout = Layout::new(&settings.stack).context("resolve the stack's folders")?;
    if sluice_stack::logs::files(&layout, service).is_empty() {
        let error = anyhow!(
            "show the log of {service}: it has never been started here; start it with `sluice up --only {service}`"
        );
        return Err(error).or_exit(Exit::Invalid);
    }
    screen::print(&sluice_stack::logs::tail(&layout, service, options.lines))?;
    if options.follow {
        let interrupted = signals::cancellation()?;
        let added = sluice_stack::logs::follow(&layout, service, |text| screen::print(text).is_ok());
        interrupted.run_until_cancelled(added).await.transpose()?;
    }
    Ok(Exit::Pass)
}
