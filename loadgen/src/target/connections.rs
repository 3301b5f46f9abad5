//! Connections to one database of PostgreSQL, at most a fixed number, each used by one call at a time. A connection is free for the
//! next call as soon as its call has ended: the pool of sqlx tests each one after its use, which costs every question one more
//! round trip. It never decides how long a call may take.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use sluice_schemas::concurrency::lock;
use sluice_schemas::connect::{self, ConnectError};
use sluice_schemas::stores::Stores;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::QueryError;
use super::waited;

/// The connections.
pub(crate) struct Connections {
    stores: Stores,
    database: String,
    options: PgConnectOptions,
    permits: Semaphore,
    /// The one that was used last is at the end, and is used next.
    idle: Mutex<Vec<PgConnection>>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Connections {
    /// Opens `opened` of at most `most` connections, which proves that the store responds.
    pub(crate) async fn open(
        (stores, database): (&Stores, &str),
        options: PgConnectOptions,
        (opened, most): (u32, u32),
    ) -> Result<Self, ConnectError> {
        let connections = Self {
            stores: stores.clone(),
            database: database.to_owned(),
            options,
            permits: Semaphore::new(most as usize),
            idle: Mutex::default(),
        };
        for _ in 0..opened.min(most) {
            let connection = connections.connect().await?;
            lock(&connections.idle).push(connection);
        }
        Ok(connections)
    }

    /// Waits for a connection that no other call uses, and opens one if there is none. The time counts as waited.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>, QueryError> {
        waited::count(async {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            // Not in the pattern of the match: the lock would be held while it connects.
            let idle = lock(&self.idle).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            Ok(Lease { connections: self, connection, _permit: permit })
        })
        .await
    }

    async fn connect(&self) -> Result<PgConnection, ConnectError> {
        connect::postgres_connection_with(&self.stores, &self.database, self.options.clone()).await
    }

    /// Closes those that no call uses, in order.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        for connection in idle {
            // One that is broken needs no end.
            connection.close().await.ok();
        }
    }
}

/// A connection of one call. It is closed when it is dropped without [`Lease::end`], as by a call that was given up: its answer
/// would be read by the next one.
pub(crate) struct Lease<'a> {
    connections: &'a Connections,
    connection: PgConnection,
    _permit: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// Ends the call, and keeps the connection for the next one unless its result says that it may be broken.
    pub(crate) fn end<T>(self, result: Result<T, QueryError>) -> Result<T, QueryError> {
        if result.as_ref().err().is_none_or(leaves_connection_usable) {
            lock(&self.connections.idle).push(self.connection);
        }
        result
    }
}

impl Deref for Lease<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Whether the server has answered in full and goes on: after an error of a statement, or an answer that nobody expects.
fn leaves_connection_usable(error: &QueryError) -> bool {
    match error {
        QueryError::Postgres(sqlx::Error::Database(error)) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        QueryError::Postgres(sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. })
        | QueryError::Unreadable { .. }
        | QueryError::ForeignRow(_) => true,
        _ => false,
    }
}
