//! `sluice down`: stops what `up` started, and nothing else.

use anyhow::Context;
use clap::Args;
use sluice_stack::{Layout, Progress, Service, Wipe};

use crate::{
    exit::{Exit, Failure},
    screen,
    settings::Settings,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also remove the stores' data and logs; downloaded programs stay
    #[arg(long)]
    wipe: bool,
}

/// Stops the services, and prints their names and the folder of the data.
pub(crate) async fn run(options: &Options, settings: &Settings) -> Result<Exit, Failure> {
    let layout = Layout::new(&settings.stack).context("resolve the stack's folders")?;
    let had_data = layout.state_dir().exists();
    let wipe = if options.wipe { Wipe::Yes } else { Wipe::No };
    let stopped = sluice_stack::down(&layout, wipe, &Progress::stderr()).await.context("stop the local stack")?;
    let names: Vec<&str> = stopped.iter().map(|service| Service::name(*service)).collect();
    let result =
        if names.is_empty() { "nothing was running".to_owned() } else { format!("stopped {}", names.join(", ")) };
    let folder = layout.state_dir().display();
    let data = match (had_data, options.wipe) {
        (false, _) => format!("there was no data in {folder}"),
        (true, true) => format!("removed its data in {folder}"),
        (true, false) => format!("kept its data in {folder}"),
    };
    screen::print(&format!("{result}; {data}"))?;
    Ok(Exit::Pass)
}
