//! `sluice up`: starts the services of the local stack that are not running. It never restarts one that runs.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use sluice_stack::{Layout, Progress, Service};

use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
    signals, status,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Start only these, separated by commas: postgres, kafka, connect, clickhouse, elasticsearch, redis-cache, redis-state, s3
    #[arg(long, value_delimiter = ',', value_name = "STORES")]
    only: Vec<String>,
    /// Stop the stack automatically once it has been idle for this long, as in 60s
    #[arg(long, value_name = "TIME", value_parser = arguments::duration)]
    until_idle: Option<Duration>,
}

/// Starts the chosen services and shows the status.
pub(crate) async fn run(options: &Options, settings: &Settings) -> Result<Exit, Failure> {
    let services = services(&options.only)?;
    let layout = Layout::new(&settings.stack).context("resolve the stack's folders")?;
    let interrupted = signals::cancellation()?;
    let started = interrupted.run_until_cancelled(start(&layout, &services)).await;
    let Some(started) = started else {
        screen::note("stopped the services that were not ready yet; run `sluice up` again to continue");
        return Ok(Exit::Interrupted);
    };
    started?;
    if let Some(idle) = options.until_idle {
        sluice_stack::keeper::spawn(&layout, idle)?;
    }
    status::show(&layout).await
}

/// Starts the services and shows progress on standard error.
pub(crate) async fn start(layout: &Layout, services: &[Service]) -> anyhow::Result<()> {
    sluice_stack::up(layout, services, &Progress::stderr()).await.context("start the local stack")
}

fn services(only: &[String]) -> Result<Vec<Service>, Failure> {
    if only.is_empty() {
        return Ok(Service::DEFAULT.to_vec());
    }
    only.iter().map(|name| name.parse()).collect::<Result<_, _>>().context("choose the stores").or_exit(Exit::Usage)
}
