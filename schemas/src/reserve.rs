//! One run at a time in a namespace: a run drops and fills its namespace, so a second one would spoil both.
//! An advisory lock in PostgreSQL, so it holds between machines, and a process that dies frees it. Never waits.

use sqlx::{Connection, PgConnection};

use crate::connect::{self, ConnectError, Role};
use crate::names::Names;
use crate::stores::Stores;

/// Advisory locks belong to one database, so all namespaces reserve in this one.
const DATABASE: &str = "postgres";

/// While this value lives, nobody else can run in the namespace.
#[derive(Debug)]
pub struct Reservation(PgConnection);

/// A namespace that cannot be reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// PostgreSQL cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL refused.
    #[error("reserve the namespace: {0}")]
    Refused(#[from] sqlx::Error),
    /// Somebody else is running in it.
    #[error("reserve namespace \"{0}\": another run is using it; wait for its end, or choose another with --namespace")]
    Taken(String),
}

impl Reservation {
    /// Frees the namespace. A failure needs no report: the server frees it with the connection.
    pub async fn release(self) {
        drop(self.0.close().await);
    }
}

/// Reserves the namespace of `names`, or says that it is taken.
pub async fn reserve(stores: &Stores, names: &Names) -> Result<Reservation, ReserveError> {
    let mut connection = connect::postgres_connection(stores, DATABASE, Role::Admin).await?;
    let reserved: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
        .bind(format!("sluice run {}", names.database()))
        .fetch_one(&mut connection)
        .await?;
    if reserved { Ok(Reservation(connection)) } else { Err(ReserveError::Taken(names.namespace().to_owned())) }
}
