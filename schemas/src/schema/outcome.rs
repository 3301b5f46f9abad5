//! What `apply` did to each object. This module never accesses a store.

use crate::store::Store;

/// One object and what `apply` did to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedObject {
    /// The store.
    pub store: Store,
    /// The object or file.
    pub object: String,
    /// What `apply` did.
    pub outcome: Outcome,
}

/// What `apply` did to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was missing and has been created.
    Created,
    /// It already matched the files.
    Unchanged,
    /// It differed from the files and has been updated.
    Updated,
    /// The store does not support it; the reason.
    Skipped(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Updated => f.write_str("updated"),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}

impl AppliedObject {
    pub(crate) fn new(store: Store, object: impl Into<String>, outcome: Outcome) -> Self {
        Self { store, object: object.into(), outcome }
    }

    pub(crate) fn skipped(store: Store, object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(store, object, Outcome::Skipped(reason.into()))
    }
}
