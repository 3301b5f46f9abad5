//! What goes wrong while a schema is applied, compared or dropped: which store, doing what, and what to do about it.
//! Carries no data of a tenant and no credential.

use std::path::PathBuf;
use std::time::Duration;

use crate::connect::ConnectError;
use crate::runs::Foreign;
use crate::store::Store;

/// Why a schema could not be applied, compared or dropped.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A store cannot be reached or does not let us in.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A store refused what it was asked.
    #[error("{doing} ({store}): {cause}")]
    Refused {
        /// The store.
        store: Store,
        /// What was being done, such as `apply 0003_indexes.sql`.
        doing: String,
        /// The store's own words.
        cause: String,
    },
    /// A file was changed after it had been applied.
    #[error(
        "apply {file} ({store}): it was applied before with other text; put that text back and make the change in a new file with the next number"
    )]
    Edited {
        /// The store.
        store: Store,
        /// The file.
        file: String,
    },
    /// Another run holds the lock.
    #[error("lock {database} for `sluice schemas apply`: another run has held it for {waited:?}; wait until it ends")]
    Locked {
        /// The database that stands for the namespace.
        database: String,
        /// How long this run waited.
        waited: Duration,
    },
    /// The lock file cannot be made.
    #[error("lock {path}: {cause}; free the file, or set TMPDIR to a folder that you may write")]
    LockFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The namespace was not made for runs, or something of somebody else's stands where a run would make its own.
    #[error(
        "use namespace \"{namespace}\" for a run: {}. Nothing was changed or dropped. A run drops only what carries its own \
         mark: choose a namespace that nobody uses with --namespace, or remove these objects by hand if they are not needed",
        .foreign.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    NotARuns {
        /// The namespace.
        namespace: String,
        /// What is in the way, store by store.
        foreign: Vec<Foreign>,
    },
    /// The stores hold markers of different runs' namespaces.
    #[error(
        "use namespace \"{namespace}\" for a run: its markers differ ({marks}), so some of these stores belong to another \
         environment. Nothing was changed or dropped. Correct [stores], or choose another namespace with --namespace"
    )]
    MarkersDiffer {
        /// The namespace.
        namespace: String,
        /// Store and mark, each.
        marks: String,
    },
    /// A schema that is to stay does not belong where the next run drops it.
    #[error(
        "apply schemas in namespace \"{0}\": it was made for runs, and the next `verify` or `load` drops what it makes there; \
         choose another namespace"
    )]
    ARuns(String),
    /// The platform's own namespace is never dropped.
    #[error("drop the platform's own namespace: name a namespace, since without one this would delete production data")]
    OwnNamespace,
}

impl SchemaError {
    /// Whether another namespace, and not another try, is what helps.
    pub fn is_about_the_namespace(&self) -> bool {
        matches!(self, Self::NotARuns { .. } | Self::MarkersDiffer { .. } | Self::ARuns(_) | Self::OwnNamespace)
    }
}

/// Makes [`SchemaError::Refused`] from any client's error.
pub(crate) fn refused<E: std::fmt::Display>(store: Store, doing: impl Into<String>) -> impl FnOnce(E) -> SchemaError {
    let doing = doing.into();
    move |error| SchemaError::Refused { store, doing, cause: error.to_string() }
}

/// How long one store may take for all of its schema before it counts as hung; not every client has a limit of its own.
const PATIENCE: Duration = Duration::from_mins(3);

/// Ends work that a store never answers.
pub(crate) async fn in_time<T>(
    store: Store,
    doing: &str,
    work: impl Future<Output = Result<T, SchemaError>>,
) -> Result<T, SchemaError> {
    let late = |_| SchemaError::Refused {
        store,
        doing: doing.to_owned(),
        cause: format!("no answer in {} s; is it frozen or overloaded?", PATIENCE.as_secs()),
    };
    tokio::time::timeout(PATIENCE, work).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_named() {
        let never = std::future::pending::<Result<(), SchemaError>>();
        let error = in_time(Store::ClickHouse, "read its catalog", never).await.unwrap_err().to_string();
        assert_eq!(error, "read its catalog (ClickHouse): no answer in 180 s; is it frozen or overloaded?");
    }
}
