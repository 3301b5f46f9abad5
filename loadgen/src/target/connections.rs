//! Connections to one database of PostgreSQL, at most a fixed number, each used by one call at a time. A connection is free for the
//! next call as soon as its call has ended: the pool of sqlx tests each one after its use, which costs every question one more
//! round trip. A wait for one is the pool's, unless a call held its connection for long meanwhile: then it is the store's, and so is
//! one while the calls that waited catch up. It never decides how long a call may take.

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

use super::call::{self, Wait};
use super::error::QueryError;

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
            holds: Mutex::new(Holds { most: most as usize, ..Holds::default() }),
        };
        for _ in 0..opened.min(most) {
            let connection = connections.connect().await?;
            lock(&connections.idle).push(connection);
        }
        Ok(connections)
    }

    /// Notes that the tasks of these connections run. A call that they could not end meanwhile did not hold its connection for so long.
    /// Returns the part of a delay, of what was due at `due`, that is the store's: all connections were held until it went on, and what
    /// waited for them came at once.
    pub(crate) fn pulse(&self, due: Instant, now: Instant) -> Duration {
        let mut holds = lock(&self.holds);
        holds.pulse(now);
        holds.excused_delay(due, now)
    }

    /// Waits for a connection that no other call uses, which counts as waited.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let permit = {
            let _wait = Wait::start(|from, to| lock(&self.holds).excused(from, to));
            self.permits.acquire().await.expect("the semaphore is never closed")
        };
        // From here on, since a store that is slow to accept connections holds up the others as well.
        Turn { connections: self, hold: Hold::start(&self.holds), permit }
    }

    /// Waits for its turn, and takes the connection.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>, QueryError> {
        self.turn().await.lease().await
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

/// The right of one call to a connection.
pub(crate) struct Turn<'a> {
    connections: &'a Connections,
    hold: Hold<'a>,
    permit: SemaphorePermit<'a>,
}

impl<'a> Turn<'a> {
    /// Takes an open connection, or opens one, which does not count as waited.
    pub(crate) async fn lease(self) -> Result<Lease<'a>, QueryError> {
        let Self { connections, hold, permit } = self;
        // Not in the pattern of the match: the lock would be held while it connects.
        let idle = lock(&connections.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connections.connect().await?,
        };
        Ok(Lease { connections, connection, _hold: hold, _permit: permit })
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

/// A call that holds a connection longer than this, and than its limit, stalls those that wait.
const STALL: Duration = Duration::from_millis(500);
/// Between two calls that hold a connection in turn.
const TURN: Duration = Duration::from_millis(10);
/// Between two pulses of tasks that run.
const RUNNING: Duration = Duration::from_millis(100);

/// Since when connections are held, and when calls held them for long.
#[derive(Debug, Default)]
struct Holds {
    /// The calls that hold a connection, in the order of their starts, each with a number of its own.
    held: BTreeMap<u64, Held>,
    next: u64,
    /// The last time in which calls held connections for long, in turn or together.
    stall: Option<Stall>,
    /// How many calls may hold a connection.
    most: usize,
    /// When the tasks last ran, if that is noted.
    pulsed: Option<Instant>,
}

/// A time in which calls held connections for long.
#[derive(Debug, Clone, Copy)]
struct Stall {
    start: Instant,
    /// When the last of the calls ended.
    end: Instant,
    /// When the first of them ended that left no connection free until then.
    resumed: Option<Instant>,
}

impl Stall {
    /// Until when those that waited may catch up: for as long again.
    fn caught_up(self) -> Instant {
        self.end + (self.end - self.start)
    }
}

/// A call that holds a connection: since when, and from when on it is slow.
#[derive(Debug, Clone, Copy)]
struct Held {
    start: Instant,
    slow: Instant,
}

impl Held {
    /// Starts a call, which may take as long as its limit.
    fn start(start: Instant, limit: Option<Duration>) -> Self {
        Self { start, slow: start + limit.map_or(STALL, |limit| limit.max(STALL)) }
    }
}

impl Holds {
    /// The part of a wait that is the store's: of one that began while a call held a connection for long, or while those that had waited for it
    /// caught up, which may take as long again. One that began before would have been served by then, if there had been a connection.
    fn excused(&self, from: Instant, to: Instant) -> Duration {
        let seen = self.seen(to);
        let running = self.held.values().filter(|held| held.slow < seen).map(|held| held.start).min();
        let running = running.map(|start| (self.joined(start).map_or(start, |stall| stall.start.min(start)), to));
        let ended = self.stall.map(|stall| (stall.start, stall.caught_up()));
        let overlap = |(start, end): (Instant, Instant)| {
            if start <= from { end.min(to).saturating_duration_since(from) } else { Duration::ZERO }
        };
        ended.into_iter().chain(running).map(overlap).max().unwrap_or_default()
    }

    fn end(&mut self, number: u64, now: Instant) {
        let Some(Held { start, slow }) = self.held.remove(&number) else { return };
        if slow < self.seen(now) {
            let was_full = self.held.len() + 1 >= self.most;
            let alone = Stall { start, end: now, resumed: was_full.then_some(now) };
            self.stall = Some(self.joined(start).map_or(alone, |earlier| Stall {
                start: earlier.start.min(start),
                resumed: earlier.resumed.or(alone.resumed),
                ..alone
            }));
        }
    }

    /// Until when it is known at `now` that calls could have ended: what comes after a pause of the tasks themselves is not.
    fn seen(&self, now: Instant) -> Instant {
        self.pulsed.map_or(now, |pulsed| now.min(pulsed + RUNNING))
    }

    /// Notes that the tasks run. The calls that were held while they did not are as if they had been held for less.
    fn pulse(&mut self, now: Instant) {
        if let Some(paused) = self.pulsed.map(|pulsed| now - pulsed).filter(|paused| *paused > RUNNING) {
            for held in self.held.values_mut() {
                let paused = paused.min(now - held.start);
                (held.start, held.slow) = (held.start + paused, held.slow + paused);
            }
        }
        self.pulsed = Some(now);
    }

    /// The part of a delay that comes from a backlog of the store: of what was due when it went on, or while those that had waited
    /// caught up, which may take as long again.
    fn excused_delay(&self, due: Instant, now: Instant) -> Duration {
        let backlog = self.stall.filter(|stall| stall.resumed.is_some_and(|resumed| due + RUNNING >= resumed));
        backlog.map_or(Duration::ZERO, |stall| stall.caught_up().min(now).saturating_duration_since(due))
    }

    /// The stall that a slow call continues which started then.
    fn joined(&self, start: Instant) -> Option<Stall> {
        self.stall.filter(|stall| start <= stall.end + TURN)
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
        holds.held.insert(number, Held::start(Instant::now(), call::limit()));
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
    fn only_a_wait_behind_a_call_that_holds_a_connection_for_long_is_the_stores() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let at = |time| start + millis(time);
        let held = |time| Held::start(at(time), None);
        let mut holds = Holds { held: BTreeMap::from([(1, held(100)), (2, held(200))]), ..Holds::default() };
        assert_eq!(holds.excused(at(300), at(500)), millis(0), "400 ms are no stall");
        assert_eq!(holds.excused(at(300), at(2_000)), millis(1_700), "a call still holds its connection");
        assert_eq!(holds.excused(at(50), at(2_000)), millis(0), "a larger pool would have served it before");
        holds.end(1, at(3_000));
        holds.end(2, at(3_100));
        assert_eq!(holds.excused(at(300), at(5_000)), millis(4_700), "it waited for those before it");
        assert_eq!(holds.excused(at(4_000), at(4_500)), millis(500), "and so did this one");
        assert_eq!(holds.excused(at(300), at(9_000)), millis(5_800), "they may catch up for as long again");
        assert_eq!(holds.excused(at(6_200), at(9_000)), millis(0), "a stall excuses nothing that comes later");
        holds.held.insert(3, held(7_000));
        holds.end(3, at(7_100));
        assert_eq!(holds.excused(at(6_200), at(9_000)), millis(0));
    }

    #[test]
    fn a_pause_of_the_tasks_themselves_is_no_stall_of_the_store() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let at = |time| start + millis(time);
        let paused = |pulse: u64| {
            let held = BTreeMap::from([(1, Held::start(at(900), None)), (2, Held::start(at(950), None))]);
            let mut holds = Holds { held, most: 2, ..Holds::default() };
            (0..=pulse).step_by(10).for_each(|time| holds.pulse(at(time)));
            // One call ends before the pulse after the pause, and one after it.
            holds.end(1, at(3_000));
            holds.pulse(at(3_001));
            holds.end(2, at(3_002));
            [holds.excused(at(1_000), at(3_100)), holds.excused_delay(at(2_990), at(3_020))]
        };
        assert_eq!(paused(1_000), [millis(0); 2], "nothing ran for two seconds");
        assert_eq!(paused(2_995), [millis(2_100), millis(30)], "the negative control: PostgreSQL did not answer");
    }

    #[test]
    fn only_what_all_connections_held_up_excuses_a_delay_and_for_as_long_again_at_most() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let at = |time| start + millis(time);
        let delays = |most: usize| {
            let held = BTreeMap::from([(1, Held::start(at(0), None)), (2, Held::start(at(0), None))]);
            let mut holds = Holds { held, most, ..Holds::default() };
            holds.end(1, at(3_000));
            holds.end(2, at(3_010));
            [(1_000, 1_400), (2_950, 3_050), (4_000, 4_100), (6_000, 6_100), (6_100, 6_200)]
                .map(|(due, now)| holds.excused_delay(at(due), at(now)).as_millis())
        };
        assert_eq!(delays(2), [0, 100, 100, 20, 0]);
        assert_eq!(delays(3), [0; 5], "a connection was free: nothing waited");
    }

    #[test]
    fn a_backlog_lasts_until_the_last_call_ended_whichever_started_first() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let at = |time| start + millis(time);
        let held = BTreeMap::from([(1, Held::start(at(100), None)), (2, Held::start(at(50), None))]);
        let mut holds = Holds { held, most: 2, ..Holds::default() };
        holds.end(1, at(3_000));
        holds.end(2, at(3_500));
        assert_eq!(holds.excused_delay(at(6_300), at(6_400)), millis(100));
        assert_eq!(holds.excused_delay(at(6_950), at(7_000)), millis(0));
    }

    #[test]
    fn a_call_within_its_limit_is_no_stall_and_slow_ones_in_turn_are_one() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let at = |time| start + millis(time);
        let patient = Held::start(at(0), Some(millis(2_000)));
        let mut holds = Holds { held: BTreeMap::from([(1, patient)]), ..Holds::default() };
        assert_eq!(holds.excused(at(100), at(1_500)), millis(0));
        holds.end(1, at(1_900));
        assert_eq!(holds.excused(at(100), at(1_900)), millis(0));
        for (number, time) in [(2, 2_000), (3, 2_601)] {
            holds.held.insert(number, Held::start(at(time), Some(millis(100))));
            holds.end(number, at(time + 600));
        }
        assert_eq!(holds.excused(at(2_100), at(3_201)), millis(1_101), "in turn");
    }
}
