//! `sluice status`: what runs, where, with how much memory and since when.

use anyhow::Context;
use sluice_stack::{Layout, State};

use crate::{
    exit::{Exit, Failure},
    screen,
    settings::Settings,
};

/// Shows the table; exits 1 when something that was started does not answer.
pub(crate) async fn run(settings: &Settings) -> Result<Exit, Failure> {
    show(&Layout::new(&settings.stack).context("lay out the stack")?).await
}

/// The table and where the data lives.
pub(crate) async fn show(layout: &Layout) -> Result<Exit, Failure> {
    let rows = sluice_stack::status(layout).await.context("read the stack's state")?;
    screen::say(&sluice_stack::status::table(&rows))?;
    screen::say(&format!("data and logs: {}", layout.state_dir().display()))?;
    let broken = rows.iter().any(|row| matches!(row.state, State::NotReady | State::Died));
    Ok(if broken { Exit::Fail } else { Exit::Pass })
}
