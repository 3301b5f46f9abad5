//! `sluice status`: state, ports, processes and memory of each service. It starts and stops nothing.

use anyhow::Context;
use sluice_stack::{Layout, State};

use crate::{
    exit::{Exit, Failure},
    screen,
    settings::Settings,
};

/// Prints the table; exits 1 if a started service does not respond.
pub(crate) async fn run(settings: &Settings) -> Result<Exit, Failure> {
    show(&Layout::new(&settings.stack).context("resolve the stack's folders")?).await
}

/// Prints the table and the folder of the data.
pub(crate) async fn show(layout: &Layout) -> Result<Exit, Failure> {
    let rows = sluice_stack::status(layout).await.context("read the stack's state")?;
    screen::print(&sluice_stack::status::table(&rows))?;
    screen::print(&format!("data and logs: {}", layout.state_dir().display()))?;
    let broken = rows.iter().any(|row| matches!(row.state, State::NotReady | State::Exited));
    Ok(if broken { Exit::Fail } else { Exit::Pass })
}
