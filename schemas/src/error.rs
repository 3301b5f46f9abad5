//! Why a schema could not be applied, compared or dropped: the store, the step, and what to do about it.
//! No message contains tenant data or a credential.

use std::path::PathBuf;
use std::time::Duration;

use crate::connect::ConnectError;
use crate::store::Store;

/// Maximum number of foreign objects in a message.
const LISTED: usize = 5;

/// Why a schema could not be applied, compared or dropped.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A store is unreachable or rejects the login.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A store refused a request.
    #[error("{doing} ({store}): {cause}")]
    Refused {
        /// The store.
        store: Store,
        /// The step, such as `apply 0003_indexes.sql`.
        doing: String,
        /// The store's message.
        cause: String,
    },
    /// A migration file was changed after it had been applied.
    #[error(
        "apply {file} ({store}): it was applied before with different text; restore that text and put the change into a new file with the next number"
    )]
    MigrationChanged {
        /// The store.
        store: Store,
        /// The file.
        file: String,
    },
    /// Another process holds the lock.
    #[error(
        "lock {database} for `sluice schemas apply`: another run has held the lock for {waited:?}; wait until it ends"
    )]
    Locked {
        /// The namespace's database.
        database: String,
        /// Time for which this run waited.
        waited: Duration,
    },
    /// The lock file cannot be opened.
    #[error("lock {path}: {cause}; make the file writable, or set TMPDIR to a writable folder")]
    LockFile {
        /// The file.
        path: PathBuf,
        /// The system's message.
        cause: std::io::Error,
    },
    /// The namespace was not created for runs, or foreign objects occupy names that a run needs.
    #[error(
        "use namespace \"{namespace}\" for a run: {}. Nothing was changed or dropped. A run drops only objects that carry its \
         own mark: choose an unused namespace with --namespace, or remove these objects by hand if they are not needed",
        .foreign.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    NamespaceOccupied {
        /// The namespace.
        namespace: String,
        /// The foreign objects, one entry per store.
        foreign: Vec<ForeignObjects>,
    },
    /// The stores' run markers differ.
    #[error(
        "use namespace \"{namespace}\" for a run: its markers differ ({marks}), so some of these stores belong to another \
         environment. Nothing was changed or dropped. Correct [stores], or choose another namespace with --namespace"
    )]
    MarkersDiffer {
        /// The namespace.
        namespace: String,
        /// Each store with its mark.
        marks: String,
    },
    /// Schemas that should stay cannot be applied in a namespace that the next run drops.
    #[error(
        "apply schemas in namespace \"{0}\": it was created for runs, so the next `verify` or `load` would drop them; \
         choose another namespace"
    )]
    RunNamespace(String),
    /// The platform's own namespace is never dropped.
    #[error("drop the platform's own namespace: name a namespace, since without one this would delete production data")]
    PlatformNamespace,
}

impl SchemaError {
    /// Whether choosing another namespace solves the problem.
    pub fn needs_other_namespace(&self) -> bool {
        matches!(
            self,
            Self::NamespaceOccupied { .. }
                | Self::MarkersDiffer { .. }
                | Self::RunNamespace(_)
                | Self::PlatformNamespace
        )
    }
}

/// Objects in one store that make a namespace unusable for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignObjects {
    /// The store.
    pub store: Store,
    /// Whether the store has the namespace's marker.
    pub is_marked: bool,
    /// Objects that no run created.
    pub objects: Vec<String>,
}

impl std::fmt::Display for ForeignObjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.is_marked { "has, under names that a run needs," } else { "has no run marker, but has" };
        let listed = self.objects.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
        write!(f, "{} {verb} {listed}", self.store)?;
        match self.objects.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Turns a client's error into [`SchemaError::Refused`].
pub(crate) fn refused<E: std::fmt::Display>(store: Store, doing: impl Into<String>) -> impl FnOnce(E) -> SchemaError {
    let doing = doing.into();
    move |error| SchemaError::Refused { store, doing, cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_objects_are_listed_with_their_store() {
        let objects: Vec<String> = (0..7).map(|n| format!("topic t.{n}")).collect();
        let mut foreign = ForeignObjects { store: Store::Kafka, is_marked: false, objects };
        let expected =
            "Kafka has no run marker, but has topic t.0, topic t.1, topic t.2, topic t.3, topic t.4 and 2 more";
        assert_eq!(foreign.to_string(), expected);
        foreign = ForeignObjects { is_marked: true, objects: vec!["topic t.x".to_owned()], ..foreign };
        assert_eq!(foreign.to_string(), "Kafka has, under names that a run needs, topic t.x");
    }
}
