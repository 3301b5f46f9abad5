//! Why a write failed, and who can resolve it.
//! The text of a failure never contains data of a record; a server's message may, since it may quote a row.

/// Class of a failure, by who can resolve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// It is temporary, or it is unknown whether the write took place: retry.
    Transient,
    /// The store will never accept this row.
    Row,
    /// The table, a privilege or the configuration is wrong: an operator has to repair it.
    Operator,
}

impl Class {
    /// The name in metrics, logs and dead letters.
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
    /// Who can resolve it.
    pub class: Class,
    /// What happened, without data.
    pub what: String,
    /// The store's name for the error in lower case, as in `violated_constraint`; empty if it returned none.
    pub code: String,
    /// Number of the row in its INSERT, from 0, if the store returned one.
    pub row: Option<usize>,
    /// Whether the code does not show if a row or the table is at fault, so that rows have to be tried one by one.
    pub is_unclear: bool,
    /// The view that, according to the server's message, it was writing to. The message may quote a row, so the name is not
    /// used until a view of that name is found.
    pub(crate) suspected_view: Option<String>,
}

impl Failure {
    /// Creates a failure without an error code.
    pub fn new(class: Class, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), code: String::new(), row: None, is_unclear: false, suspected_view: None }
    }

    /// Whether a row that fails with this error when sent alone is at fault.
    pub fn may_be_row_fault(&self) -> bool {
        self.class == Class::Row || self.is_unclear
    }
}
