//! Connections to one database of PostgreSQL, at most a fixed number, each used by one call at a time. A connection is free for the
//! next call as soon as its call has ended: the pool of sqlx tests each one after its use, which costs every question one more
//! round trip. A wait for one is the pool's, unless a call held its connection for long meanwhile: then it is the store's. It never
//! decides how long a call may take.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;
use std::time::Duration;

use sluice_schemas::concurrency::lock;
use sluice_schemas::connect::{self, ConnectError};
use sluice_schemas::stores::Stores;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::error::QueryError;
use super::waited::Wait;

/// The connections.
pub(crate) struct Connections {
    stores: Stores,
    database: String,
    options: PgConnectOptions,
    permits: Semaphore,
    /// The one that was used last is at the end, and is used next.
    idle: Mutex<Vec<PgConnection>>,
    holds: Mutex<Holds>,
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
            holds: Mutex::default(),
        };
        for _ in 0..opened.min(most) {
            let connection = connections.connect().await?;
            lock(&connections.idle).push(connection);
        }
        Ok(connections)
    }

    /// Waits for a connection that no other call uses, which counts as waited, and opens one if there is none, which does not.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>, QueryError> {
        let permit = {
            let _wait = Wait::start(|from, to| lock(&self.holds).stalled(from, to));
            self.permits.acquire().await.expect("the semaphore is never closed")
        };
        // From here on, since a store that is slow to accept connections holds up the others as well.
        let hold = Hold::start(&self.holds);
        // Not in the pattern of the match: the lock would be held while it connects.
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lease { connections: self, connection, _hold: hold, _permit: permit })
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
    _hold: Hold<'a>,
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

/// A call that holds a connection longer than this stalls those that wait.
const STALL: Duration = Duration::from_millis(500);

/// Since when connections are held, and when calls held them for long.
#[derive(Debug, Default)]
struct Holds {
    /// The starts of the calls that hold a connection, in their order, each with a number of its own.
    held: BTreeMap<u64, Instant>,
    next: u64,
    /// The last time in which calls held connections for long, in turn or together.
    stall: Option<(Instant, Instant)>,
}

impl Holds {
    /// The part of a time in which a call held a connection for long, one that still does included.
    fn stalled(&self, from: Instant, to: Instant) -> Duration {
        let oldest = self.held.values().next().copied().filter(|start| to.duration_since(*start) > STALL);
        let (ended, running) = (self.stall, oldest.map(|start| (start, to)));
        let overlap = |(start, end): (Instant, Instant)| end.min(to).saturating_duration_since(start.max(from));
        match (ended, running) {
            (Some((start, end)), Some(running)) if running.0 <= end => overlap((start.min(running.0), to)),
            (ended, running) => ended.into_iter().chain(running).map(overlap).sum(),
        }
    }

    fn end(&mut self, number: u64, now: Instant) {
        let Some(start) = self.held.remove(&number) else { return };
        if now.duration_since(start) > STALL {
            let joined = self.stall.filter(|(_, end)| start <= *end).map_or(start, |(earlier, _)| earlier.min(start));
            self.stall = Some((joined, now));
        }
    }
}

/// A call that holds a connection.
struct Hold<'a> {
    holds: &'a Mutex<Holds>,
    number: u64,
}

impl<'a> Hold<'a> {
    fn start(all: &'a Mutex<Holds>) -> Self {
        let mut holds = lock(all);
        holds.next += 1;
        let number = holds.next;
        holds.held.insert(number, Instant::now());
        drop(holds);
        Self { holds: all, number }
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        lock(self.holds).end(self.number, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_while_no_call_holds_a_connection_for_long_is_the_pools() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let at = |time| start + millis(time);
        let mut holds = Holds { held: BTreeMap::from([(1, at(0)), (2, at(100))]), ..Holds::default() };
        assert_eq!(holds.stalled(at(200), at(400)), millis(0), "400 ms are no stall");
        assert_eq!(holds.stalled(at(200), at(2_000)), millis(1_800), "a call still holds its connection");
        holds.end(1, at(3_000));
        holds.end(2, at(3_100));
        assert_eq!(holds.stalled(at(200), at(5_000)), millis(2_900), "up to the end of the stall");
        assert_eq!(holds.stalled(at(3_500), at(5_000)), millis(0), "a stall excuses nothing that comes later");
        holds.held.insert(3, at(4_000));
        holds.end(3, at(4_100));
        assert_eq!(holds.stalled(at(3_500), at(5_000)), millis(0));
    }
}
