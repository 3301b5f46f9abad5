//! Scenarios: what is driven, asked and judged, as one readable TOML file. Reading yields a checked [`Scenario`], or
//! every mistake with its file, its line and the remedy. Reading never accesses a store.
//!
//! # Layout, bottom up
//! - `error`: a mistake
//! - [`rates`]: rates over time; `stages`: factors on the rates of a drive
//! - `slo`, `limits`, `types`: the values of a checked scenario
//! - `units`, `forms`: values as people write them; `raw`, `schema`: a file as it is written, and its JSON schema
//! - `source`, `merge`: the texts of a scenario, and what they say together; `advice`: what to do about a mistake
//! - `yaml`, `openslo`: SLOs in OpenSLO files
//! - `structure`: keys, and the types of values
//! - `names`, `questions`, `users`, `probes`, `shape`, `slos`, `access`, `check`: the checks

mod access;
mod advice;
mod check;
mod decidable;
mod error;
mod forms;
mod limits;
mod merge;
mod names;
mod openslo;
mod planned;
mod probes;
mod questions;
pub(crate) mod rates;
mod raw;
mod schema;
mod shape;
mod slo;
mod slos;
mod source;
mod stages;
mod structure;
mod types;
mod units;
mod users;
mod yaml;

use std::path::Path;

pub(crate) use decidable::never_passes;
pub use error::ScenarioError;
pub(crate) use forms::MAX_RECORDS;
pub use limits::{Connections, TimeOuts};
pub(crate) use planned::TRANSACTION_WINDOW;
pub use schema::schema;
pub use slo::{Operation, Slo};
pub use stages::{Factor, Stage};
pub use types::{Access, Arrivals, Availability, Pace, Scenario, Undecided, Users};
pub use units::{brief_duration, exact_duration};

use source::{Part, Source};

impl Scenario {
    /// Reads and checks a file. The first mistake is the error.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        Self::read_with(path, &[], None).map_err(first)
    }

    /// Checks the text of a file named `file`, which includes no other. The first mistake is the error.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        Self::parse_with(text, file, &[], None).map_err(first)
    }

    /// Reads and checks a file with other values: each of `set` is `KEY=VALUE`. Without an access, the scenario need not fit
    /// any. All mistakes are the error.
    pub fn read_with(path: &Path, set: &[String], access: Option<Access>) -> Result<Self, Vec<ScenarioError>> {
        let text = merge::read(path).map_err(|mistake| vec![mistake])?;
        let folder = path.parent().unwrap_or(Path::new(""));
        assemble(Part::file(&path.display().to_string(), &text), Some(folder), set, access)
    }

    /// Checks the text of a file named `file` with other values, as [`Scenario::read_with`] does.
    pub fn parse_with(
        text: &str,
        file: &str,
        set: &[String],
        access: Option<Access>,
    ) -> Result<Self, Vec<ScenarioError>> {
        assemble(Part::file(file, text), None, set, access)
    }
}

fn first(mistakes: Vec<ScenarioError>) -> ScenarioError {
    mistakes.into_iter().next().expect("a scenario that can't be used has a mistake")
}

/// Merges and checks a file with its included files and the set values, from the weakest to the strongest.
fn assemble(
    file: Part,
    folder: Option<&Path>,
    set: &[String],
    access: Option<Access>,
) -> Result<Scenario, Vec<ScenarioError>> {
    let one = |mistake| vec![mistake];
    let included = merge::includes(&file, folder).map_err(one)?;
    let set = set.iter().map(|assignment| merge::set(assignment)).collect::<Result<Vec<_>, _>>().map_err(one)?;
    // The scenario's own file comes first in the source, since a key that is missing is missing there.
    let precedence: Vec<usize> =
        (1..=included.len()).chain([0]).chain(included.len() + 1..=included.len() + set.len()).collect();
    let mut source = Source::new(std::iter::once(file).chain(included).chain(set).collect());
    let Some(mut raw) = merge::merged(&source, &precedence).map_err(one)? else { return Err(source.mistakes()) };
    openslo::read(&mut raw, &mut source, folder.is_some());
    slos::objectives_differ(&raw.slo, &source);
    raw.slo = raw.slo.into_iter().flat_map(raw::Slo::of_each_objective).collect();
    check::check(&raw, access, &source)
}

#[cfg(test)]
mod tests;
