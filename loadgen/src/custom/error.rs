//! Why a question of a scenario's own can't be asked. A wrong answer is never one of these errors.

use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;

use crate::question::custom::CustomQuestion;
use crate::target::QueryError;

/// A question that can't be prepared.
#[derive(Debug, thiserror::Error)]
pub enum CustomError {
    /// Its store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// ClickHouse could not be reached.
    #[error(
        "ask `{question}` ({place}): ClickHouse is unreachable: {cause}; start it, or correct `url` in [stores.clickhouse]"
    )]
    Unreachable {
        /// Its name.
        question: &'static str,
        /// The file and line of its text.
        place: String,
        /// The cause.
        cause: String,
    },
    /// The store refuses it, or it is wrong in another way that the scenario's file can repair.
    #[error("ask `{question}` ({place}): {why}")]
    Refused {
        /// Its name.
        question: &'static str,
        /// The file and line of its text.
        place: String,
        /// The store's message, or what is wrong.
        why: String,
    },
}

impl CustomError {
    /// A question that its store, or the check before it, refuses.
    pub(super) fn refused(question: &CustomQuestion, why: impl std::fmt::Display) -> Self {
        Self::Refused { question: question.question.name(), place: question.place.clone(), why: why.to_string() }
    }

    /// The same error, about the values of a parameter.
    pub(super) fn of_parameter(self, name: &str) -> Self {
        match self {
            Self::Refused { question, place, why } => {
                Self::Refused { question, place, why: format!("read the values of its parameter \"{name}\": {why}") }
            }
            unreachable => unreachable,
        }
    }

    /// An error of a client while a question is prepared.
    pub(super) fn query(question: &CustomQuestion, error: impl Into<QueryError>) -> Self {
        match error.into() {
            QueryError::Connect(error) | QueryError::Elasticsearch(ElasticError::Connect(error)) => {
                Self::Connect(error)
            }
            QueryError::ClickHouse(clickhouse::error::Error::Network(cause)) => Self::Unreachable {
                question: question.question.name(),
                place: question.place.clone(),
                cause: cause.to_string(),
            },
            error => Self::refused(question, message(&error)),
        }
    }
}

/// What to do about a table that does not exist.
const NO_TABLE: &str = "correct `text`, or name the `database` that has it";
/// PostgreSQL's code of that error (`undefined_table`), and the names that ClickHouse gives it.
const UNDEFINED_TABLE: &str = "42P01";
const UNKNOWN_TABLE: [&str; 2] = ["(UNKNOWN_TABLE)", "(UNKNOWN_DATABASE)"];

/// PostgreSQL's own message, without what the client adds; for a table or an index that does not exist, what to do.
fn message(error: &QueryError) -> String {
    match error {
        QueryError::Postgres(sqlx::Error::Database(error)) => {
            let lacks_table = error.code().is_some_and(|code| code == UNDEFINED_TABLE);
            let advice = if lacks_table { format!("; {NO_TABLE}") } else { String::new() };
            format!("PostgreSQL says: {}{advice}", error.message())
        }
        QueryError::ClickHouse(clickhouse::error::Error::BadResponse(text))
            if UNKNOWN_TABLE.iter().any(|name| text.contains(name)) =>
        {
            format!("{error}; {NO_TABLE}")
        }
        QueryError::Elasticsearch(ElasticError::Refused { status, .. }) if status.as_u16() == 404 => {
            format!(
                "{error}; correct `index`, or name the namespace that has it with --namespace or `stores.namespace`"
            )
        }
        error => error.to_string(),
    }
}
