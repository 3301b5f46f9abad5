//! `sluice config check`: reads and checks the settings as every verb does, and prints them with secrets hidden. It
//! connects to no store.

use anyhow::Context;
use clap::Subcommand;

use crate::{
    exit::{Exit, Failure},
    screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check file, environment and flags, and print what is in effect
    Check,
}

/// Prints the settings as a `sluice.toml`, except for its secrets.
pub(crate) fn run(verb: &Verb, settings: &Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::Check => screen::print(&toml::to_string_pretty(settings).context("print the configuration")?)?,
    }
    Ok(Exit::Pass)
}
