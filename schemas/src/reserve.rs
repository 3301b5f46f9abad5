//! One run at a time in a namespace: a run drops and fills its namespace, so a second one would spoil both.
//! The lock is an advisory lock in PostgreSQL: it holds across machines, and a dying process releases it. Reserving
//! never waits.

use sqlx::{Connection, PgConnection};

use crate::connect::{self, ConnectError};
use crate::lock::try_advisory_lock;
use crate::names::Names;
use crate::stores::Stores;

/// The exclusive right to run in a namespace, held until it is released or dropped.
#[derive(Debug)]
pub struct Reservation(PgConnection);

/// A namespace cannot be reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// PostgreSQL is unreachable.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL refused.
    #[error("reserve the namespace: {0}")]
    Refused(#[from] sqlx::Error),
    /// Another run holds the namespace.
    #[error("reserve namespace \"{0}\": another run is using it; wait for its end, or choose another with --namespace")]
    Taken(String),
}

impl Reservation {
    /// Releases the namespace. Errors are ignored: the server releases the lock with the connection.
    pub async fn release(self) {
        drop(self.0.close().await);
    }
}

/// Reserves the namespace of `names`; fails if another run holds it.
pub async fn reserve(stores: &Stores, names: &Names) -> Result<Reservation, ReserveError> {
    let mut connection = connect::postgres_admin(stores).await?;
    let name = format!("sluice run {}", names.database());
    if try_advisory_lock(&mut connection, &name).await? {
        Ok(Reservation(connection))
    } else {
        Err(ReserveError::Taken(names.namespace().to_owned()))
    }
}
