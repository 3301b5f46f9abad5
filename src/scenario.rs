//! `sluice scenario`: checks a scenario, and explains what a run of it will do and can decide. It starts nothing.

use clap::Subcommand;
use sluice_loadgen::{
    report,
    scenario::{self, Access, Scenario},
    session, verdict,
};

use crate::{
    exit::{Exit, Failure, OrExit},
    scenarios::{self, Choice, Chosen},
    screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Check a scenario: print every mistake with its file and line, or its warnings
    Check(Choice),
    /// Explain what a run will do, how long it takes, how many samples each SLO gets, and what they can decide
    Explain(Choice),
    /// List the scenarios that ship with this program
    List,
    /// Print the JSON schema of scenario files, for editors
    Schema,
}

/// Reads the scenario and prints what the verb asks for.
pub(crate) fn run(verb: &Verb, settings: &Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::Check(choice) => check(choice, settings),
        Verb::Explain(choice) => {
            let Chosen { scenario, warning } = scenarios::choose(choice, None).or_exit(Exit::Usage)?;
            warn(warning);
            let past = report::past(&settings.verify.runs, &scenario);
            screen::print(&report::explain(&scenario, &past))?;
            Ok(Exit::Pass)
        }
        Verb::List => {
            screen::print(&scenarios::list())?;
            Ok(Exit::Pass)
        }
        Verb::Schema => {
            screen::print(scenario::schema().trim_end())?;
            Ok(Exit::Pass)
        }
    }
}

/// Prints every mistake as `FILE:LINE: message`; the error counts them.
fn check(choice: &Choice, settings: &Settings) -> Result<Exit, Failure> {
    match scenarios::check(choice, None).or_exit(Exit::Usage)? {
        Ok(Chosen { scenario, warning }) => {
            let past = report::past(&settings.verify.runs, &scenario);
            warn(verdict::warnings(&scenario, &past.slos).into_iter().chain(warning).chain(too_old(&scenario)));
            screen::print(&format!("scenario {} is valid", scenario.name))?;
            Ok(Exit::Pass)
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                screen::note(&mistake.at_its_place());
            }
            Ok(Exit::Usage)
        }
    }
}

/// That a run would be refused today, though nothing in the file is a mistake.
fn too_old(scenario: &Scenario) -> Option<String> {
    let refusal = session::check_age(scenario).err().filter(|_| scenario.fits(Access::ReadWrite))?;
    Some(format!("a run is refused today: {refusal}"))
}

fn warn(warnings: impl IntoIterator<Item = String>) {
    for warning in warnings {
        screen::note(&format!("warning: {warning}"));
    }
}
