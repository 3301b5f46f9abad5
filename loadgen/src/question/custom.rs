//! The questions of a scenario's own: the text of each, its parameters and its expected answer, as plain data. It reads only
//! the CSV files of parameters, and never a store.
//!
//! # Layout
//! - [`name`](Custom): the name of a question and its store; `statement`: its text and the parameters in it
//! - `parameters`: where values come from; `expectation`: what is expected

mod expectation;
mod name;
mod parameters;
mod statement;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use expectation::{Expected, Rows};
pub use name::Custom;
pub use parameters::{Source, Values, digest, read_csv};
pub use statement::{Piece, Statement, StatementError, words};

/// A question of a scenario's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomQuestion {
    /// Its name and store.
    pub question: Custom,
    /// The text, as the scenario has it.
    pub text: String,
    /// The file and the line of the text; it is no part of a report, since it differs between machines.
    #[serde(skip)]
    pub place: String,
    /// The database of PostgreSQL or ClickHouse; `None` for that of the namespace.
    pub database: Option<String>,
    /// The index or index pattern of Elasticsearch.
    pub index: Option<String>,
    /// The parameter with the tenant that PostgreSQL's row-level security is to see.
    pub tenant: Option<String>,
    /// Where the values of each parameter come from.
    pub parameters: BTreeMap<String, Source>,
    /// The expected answer.
    pub expected: Expected,
}

impl CustomQuestion {
    /// The text with its parameters found. The text was checked when the scenario was read.
    pub fn statement(&self) -> Result<Statement, StatementError> {
        Statement::parse(self.question.store(), &self.text)
    }
}
