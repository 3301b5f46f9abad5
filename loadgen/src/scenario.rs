//! Scenarios: what is driven, asked and judged, as one readable TOML file. Reading yields a checked [`Scenario`], or
//! one error with the file, the line and the remedy. Reading never accesses a store.

mod check;
mod error;
mod raw;
mod types;
mod units;

use std::path::Path;

pub use error::ScenarioError;
pub use types::{Arrivals, Availability, Scenario, Slo, TimeOuts, Undecided};
pub use units::{brief_duration, exact_duration};

impl Scenario {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let file = path.display().to_string();
        let advice = match (path.is_dir(), path.exists()) {
            (true, _) => "it is a folder; name a file in it",
            (false, true) => "check that it is a text file that this user may read",
            (false, false) => "name an existing file",
        };
        let message = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::IsADirectory => advice.to_owned(),
            std::io::ErrorKind::InvalidData => format!("it is not text in UTF-8; {advice}"),
            _ => format!("{error}; {advice}"),
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| ScenarioError { file: file.clone(), message: message(error) })?;
        Self::parse(&text, &file)
    }

    /// Checks the text of a file named `file`.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScenarioError> {
        let source = check::Source { file, text };
        let raw = toml::from_str(text)
            .map_err(|error| source.error(error.span().unwrap_or_default(), raw::explain(error.message())))?;
        check::check(&raw, &source)
    }
}

#[cfg(test)]
mod tests;
