//! `sluice scenario`: checks a scenario, and explains what a run of it will do and can decide. It starts nothing.

use clap::{Args, Subcommand, ValueHint};
use sluice_loadgen::{report, verdict};

use crate::{
    exit::{Exit, Failure, OrExit},
    scenarios, screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check a scenario and print its warnings
    Check(Choice),
    /// Explain what a run will do, how many samples each SLO gets, and what they can decide
    Explain(Choice),
}

#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// The scenario: smoke (the default) or day, which ship with this program, or the path of a file
    #[arg(value_name = "SCENARIO", value_hint = ValueHint::FilePath)]
    scenario: Option<String>,
}

/// Reads the scenario and prints what the verb asks for.
pub(crate) fn run(verb: &Verb, settings: &Settings) -> Result<Exit, Failure> {
    let (Verb::Check(choice) | Verb::Explain(choice)) = verb;
    let (scenario, warning) = scenarios::choose(choice.scenario.as_deref()).or_exit(Exit::Usage)?;
    if let Some(warning) = warning {
        screen::note(&format!("warning: {warning}"));
    }
    match verb {
        Verb::Check(_) => {
            for warning in verdict::warnings(&scenario) {
                screen::note(&format!("warning: {warning}"));
            }
            screen::print(&format!("scenario {} is valid", scenario.name))?;
        }
        Verb::Explain(_) => {
            let past = report::past(&settings.verify.runs, &scenario.name);
            screen::print(&report::explain(&scenario, &past))?;
        }
    }
    Ok(Exit::Pass)
}
