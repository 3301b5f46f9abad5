//! Why a write failed, and what can be done about it.
//! The text of a failure never holds data of a record, since a server's message may quote a row.

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// It passes without anybody's help, or it is unknown whether the write took place: try again.
    Transient,
    /// The store will never accept this row.
    Row,
    /// The table, a privilege or the configuration is wrong: an operator has to repair it.
    Operator,
}

impl Class {
    /// The word in metrics, logs and dead letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Row => "row",
            Self::Operator => "operator",
        }
    }
}

/// A write that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write: {what}")]
pub struct Failure {
    /// What can be done about it.
    pub class: Class,
    /// What happened, without data.
    pub what: String,
    /// The store's name of the error in lower case, as in `violated_constraint`; empty where it gave none.
    pub code: String,
    /// Number of the row in its INSERT, from 0, where the store gave one.
    pub row: Option<usize>,
    /// Whether the code does not tell if a row or the table is at fault, so that rows have to be tried one by one.
    pub is_unclear: bool,
    /// What the server's text names as the view that it was writing to. That text may quote a row, so this is no name until
    /// such a view is found.
    pub(crate) supposed_view: Option<String>,
}

impl Failure {
    /// One for which the store has no code.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), code: String::new(), row: None, is_unclear: false, supposed_view: None }
    }

    /// Whether a row is at fault if it fails with this error alone while others do not.
    pub fn may_be_of_a_row(&self) -> bool {
        self.class == Class::Row || self.is_unclear
    }
}
