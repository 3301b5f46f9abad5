//! A difference between a store and the schema files. This module never reads a store.

use crate::store::Store;

/// Stands for the definition of an object that does not exist.
pub(crate) const ABSENT: &str = "nothing";

/// One difference between a store and the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The store.
    pub store: Store,
    /// The object, such as `index idx_customers_tenant_email`.
    pub object: String,
    /// The definition in the files; `nothing` for an object that should not exist.
    pub expected: String,
    /// The definition in the store; `nothing` for an object that is missing.
    pub found: String,
}

impl Drift {
    pub(crate) fn new(
        store: Store,
        object: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { store, object: object.into(), expected: expected.into(), found: found.into() }
    }

    /// An object that should exist and does not; its definition is not worth printing.
    pub(crate) fn missing(store: Store, object: impl Into<String>) -> Self {
        Self::new(store, object, "present", ABSENT)
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: expected {}, found {}", self.store, self.object, self.expected, self.found)
    }
}
