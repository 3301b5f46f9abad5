//! Watches the stores and the machine while a step runs, by the stores' own statistics: what they waited for, queued and
//! rejected. A store that can't be read is named, and changes no outcome. It never writes to a store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clickhouse::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_schemas::connect::{self, Role};
use sluice_schemas::elastic::{Elastic, Method};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::usage::{MachineUsage, Usage};
use crate::number::percent;
use crate::target::redis::statistics;

/// Interval between two samples of PostgreSQL's sessions.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest time for one reading of a store.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// What the active sessions of PostgreSQL wait for; none is a session on a processor.
const SESSIONS: &str = "
SELECT coalesce(wait_event_type, 'running'), count(*)
FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
GROUP BY 1";

/// Deadlocks, and bytes of temporary files, of the namespace's database.
const DATABASE: &str = "SELECT deadlocks, temp_bytes FROM pg_stat_database WHERE datname = $1";

/// ClickHouse's counters that tell of a limit.
const EVENTS: &str = "
SELECT event AS name, value FROM system.events
WHERE event IN ('DelayedInserts', 'RejectedInserts', 'OSCPUWaitMicroseconds', 'OSIOWaitMicroseconds',
                'QueryMemoryLimitExceeded', 'RWLockReadersWaitMilliseconds', 'RWLockWritersWaitMilliseconds')";

/// ClickHouse's merges in progress, over all tables of a database.
const MERGES: &str = "SELECT count() FROM system.merges WHERE database = ?";

/// What was observed during a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// The machine; only if its stores run here does it tell about them.
    pub machine: MachineUsage,
    /// Average number of PostgreSQL's active sessions by what they wait for; `running` for a processor.
    pub postgres_sessions: BTreeMap<String, f64>,
    /// Deadlocks and bytes of temporary files in PostgreSQL.
    pub postgres: BTreeMap<String, u64>,
    /// ClickHouse's counters.
    pub clickhouse: BTreeMap<String, u64>,
    /// Searches and writes that Elasticsearch rejected, and breakers that tripped.
    pub elasticsearch: BTreeMap<String, u64>,
    /// Keys that Redis evicted, and connections that it rejected.
    pub redis: BTreeMap<String, u64>,
    /// Records in Kafka that had not landed at the end of the drive.
    pub lag: u64,
    /// Seconds until they had.
    pub landed_after: f64,
    /// Largest share of a question's latency that was a wait for a connection of the generator's pool, at the 95th
    /// percentile.
    pub pool_share: f64,
    /// Statistics that could not be read.
    pub unread: Vec<String>,
}

/// A running observation.
#[derive(Debug)]
pub struct Monitor {
    stores: Stores,
    names: Names,
    start: Counters,
    stop: CancellationToken,
    sampling: JoinHandle<(BTreeMap<String, u64>, u64)>,
}

/// Counters of the stores; `None` of a store that could not be read.
#[derive(Debug, Default)]
struct Counters {
    usage: Option<Usage>,
    postgres: Option<BTreeMap<String, u64>>,
    clickhouse: Option<BTreeMap<String, u64>>,
    elasticsearch: Option<BTreeMap<String, u64>>,
    redis: Option<BTreeMap<String, u64>>,
    unread: Vec<String>,
}

impl Monitor {
    /// Starts to watch.
    pub async fn start(stores: &Stores, names: &Names) -> Self {
        let start = Counters::read(stores, names).await;
        let stop = CancellationToken::new();
        let sampling = tokio::spawn(sample(pool(stores, names), stop.clone()));
        Self { stores: stores.clone(), names: names.clone(), start, stop, sampling }
    }

    /// What was observed since the start.
    pub async fn finish(self) -> Observed {
        self.stop.cancel();
        let (sessions, samples) = self.sampling.await.unwrap_or_default();
        let end = Counters::read(&self.stores, &self.names).await;
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let machine = end.usage.as_ref().zip(self.start.usage.as_ref());
        Observed {
            machine: machine.map(|(end, start)| end.since(start, cpus)).unwrap_or_default(),
            postgres_sessions: sessions
                .into_iter()
                .map(|(what, count)| (what, count as f64 / samples.max(1) as f64))
                .collect(),
            postgres: grown(end.postgres, self.start.postgres),
            clickhouse: grown(end.clickhouse, self.start.clickhouse),
            elasticsearch: grown(end.elasticsearch, self.start.elasticsearch),
            redis: grown(end.redis, self.start.redis),
            unread: self.start.unread.into_iter().chain(end.unread).collect::<BTreeSet<_>>().into_iter().collect(),
            ..Observed::default()
        }
    }
}

/// Number of ClickHouse's merges in progress in the namespace.
pub(super) async fn merges(stores: &Stores, names: &Names) -> Option<u64> {
    let client = connect::clickhouse_server(stores);
    let asking = client.query(MERGES).bind(names.database()).fetch_one::<u64>();
    tokio::time::timeout(TIME_LIMIT, asking).await.ok()?.ok()
}

/// The growth of a store's counters; none if one of the readings failed, since they count from the start of the store. One
/// that has never counted may be absent.
fn grown(end: Option<BTreeMap<String, u64>>, start: Option<BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    let Some((end, start)) = end.zip(start) else { return BTreeMap::new() };
    let growth = |(name, now): (String, u64)| {
        let before = start.get(&name).copied().unwrap_or_default();
        (name, now.saturating_sub(before))
    };
    end.into_iter().map(growth).collect()
}

/// The administrator sees what every session waits for.
fn pool(stores: &Stores, names: &Names) -> PgPool {
    let options = connect::postgres_options(stores, &names.database(), Role::Admin);
    PgPoolOptions::new().max_connections(1).acquire_timeout(TIME_LIMIT).connect_lazy_with(options)
}

/// Counts active sessions by what they wait for, once an interval; also returns the number of samples.
async fn sample(pool: PgPool, stop: CancellationToken) -> (BTreeMap<String, u64>, u64) {
    let (mut sessions, mut samples) = (BTreeMap::<String, u64>::new(), 0);
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => break,
        }
        // A frozen store returns nothing, not even an error.
        let reading = tokio::time::timeout(TIME_LIMIT, sqlx::query(SESSIONS).fetch_all(&pool));
        let Some(Ok(Ok(rows))) = stop.run_until_cancelled(reading).await else { continue };
        samples += 1;
        for row in rows {
            if let (Ok(what), Ok(count)) = (row.try_get::<String, _>(0), row.try_get::<i64, _>(1)) {
                *sessions.entry(what).or_default() += count.unsigned_abs();
            }
        }
    }
    drop(tokio::time::timeout(TIME_LIMIT, pool.close()).await);
    (sessions, samples)
}

impl Counters {
    async fn read(stores: &Stores, names: &Names) -> Self {
        let mut counters = Self { usage: Usage::read(), ..Self::default() };
        let (postgres, clickhouse, elasticsearch, redis) = tokio::join!(
            within(postgres(stores, names)),
            within(clickhouse(stores)),
            within(elasticsearch(stores)),
            within(redis(stores)),
        );
        let mut keep = |store: &str, read: Result<BTreeMap<String, u64>, String>| {
            read.map_err(|why| counters.unread.push(format!("{store}: {why}"))).ok()
        };
        let (postgres, clickhouse) = (keep("PostgreSQL", postgres), keep("ClickHouse", clickhouse));
        let (elasticsearch, redis) = (keep("Elasticsearch", elasticsearch), keep("Redis", redis));
        Self { postgres, clickhouse, elasticsearch, redis, ..counters }
    }
}

type Read = Result<BTreeMap<String, u64>, String>;

async fn within(reading: impl Future<Output = Read>) -> Read {
    let seconds = TIME_LIMIT.as_secs();
    tokio::time::timeout(TIME_LIMIT, reading).await.unwrap_or_else(|_| Err(format!("no response in {seconds} s")))
}

async fn postgres(stores: &Stores, names: &Names) -> Read {
    let pool = pool(stores, names);
    let row = sqlx::query(DATABASE).bind(names.database()).fetch_one(&pool).await;
    pool.close().await;
    let row = row.map_err(|error| error.to_string())?;
    let number = |column: usize| row.try_get::<i64, _>(column).unwrap_or_default().unsigned_abs();
    Ok(BTreeMap::from([("deadlocks".to_owned(), number(0)), ("temporary_bytes".to_owned(), number(1))]))
}

#[derive(Row, Deserialize)]
struct Event {
    name: String,
    value: u64,
}

async fn clickhouse(stores: &Stores) -> Read {
    let events = connect::clickhouse_server(stores).query(EVENTS).fetch_all::<Event>().await;
    Ok(events.map_err(|error| error.to_string())?.into_iter().map(|event| (event.name, event.value)).collect())
}

async fn elasticsearch(stores: &Stores) -> Read {
    let client = Elastic::new(stores).map_err(|error| error.to_string())?;
    let read = client.read::<Value>(Method::GET, "/_nodes/stats/thread_pool,breaker", None).await;
    let stats = read.map_err(|error| error.to_string())?;
    let mut counts = BTreeMap::new();
    for node in stats["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values()) {
        for pool in ["search", "write"] {
            let rejected = node["thread_pool"][pool]["rejected"].as_u64().unwrap_or_default();
            *counts.entry(format!("{pool}_rejected")).or_insert(0) += rejected;
        }
        let breakers = node["breakers"].as_object().into_iter().flat_map(|breakers| breakers.values());
        let tripped: u64 = breakers.filter_map(|breaker| breaker["tripped"].as_u64()).sum();
        *counts.entry("breakers_tripped".to_owned()).or_insert(0) += tripped;
    }
    Ok(counts)
}

async fn redis(stores: &Stores) -> Read {
    const NAMES: [&str; 2] = ["evicted_keys", "rejected_connections"];
    let counts = statistics(stores, NAMES).await.map_err(|error| error.to_string())?;
    Ok(NAMES.iter().map(|name| (*name).to_owned()).zip(counts).collect())
}

/// A resource, and how close to its end it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// The resource: processors, disk, memory, locks, lag, pool, or a queue of a store.
    pub resource: String,
    /// From 0 for idle to 1 for exhausted.
    pub saturation: f64,
    /// What was seen.
    pub evidence: String,
}

/// Below this saturation no resource is named.
const NOTABLE: f64 = 0.5;
/// Seconds after which records have landed that arrive as fast as they are written: the age at which a batch is sealed,
/// and half of that again.
const SEALED: f64 = 45.0;

impl Observed {
    /// The resources under pressure, the most exhausted one first.
    pub fn pressures(&self) -> Vec<Pressure> {
        let all = self.of_machine().into_iter().chain(self.of_postgres()).chain(self.of_others());
        let mut pressures: Vec<Pressure> = all.filter(|one| one.saturation >= NOTABLE).collect();
        pressures.sort_by(|one, other| other.saturation.total_cmp(&one.saturation));
        pressures
    }

    fn of_machine(&self) -> [Pressure; 4] {
        let machine = &self.machine;
        let mut programs: Vec<(&String, &f64)> = machine.processors.iter().collect();
        programs.sort_by(|one, other| other.1.total_cmp(one.1));
        let used: Vec<String> = programs.iter().take(3).map(|(program, used)| format!("{program} {used:.2}")).collect();
        // A Redis node executes commands on one thread.
        let redis_thread = machine.busiest_process.get("redis").copied().unwrap_or_default();
        let waited = |share: f64| format!("tasks waited for it {} of the time", percent(share));
        [
            pressure(
                "processors",
                machine.busy,
                format!("{} busy; processors used: {}", percent(machine.busy), used.join(", ")),
            ),
            pressure("disk", machine.stalled_for_disk.max(machine.waiting_for_disk), waited(machine.stalled_for_disk)),
            // A few percent are felt already.
            pressure("memory", machine.stalled_for_memory * 5.0, waited(machine.stalled_for_memory)),
            pressure("the thread of a Redis node", redis_thread, format!("it used {redis_thread:.2} processors")),
        ]
    }

    fn of_postgres(&self) -> [Pressure; 3] {
        let sessions: f64 = self.postgres_sessions.values().sum();
        let share = |kinds: &[&str]| {
            let waiting: f64 = kinds.iter().filter_map(|kind| self.postgres_sessions.get(*kind)).sum();
            // Waits of a few sessions are no limit.
            waiting / sessions.max(1.0)
        };
        let [locks, disk] = [share(&["Lock", "LWLock"]), share(&["IO"])];
        let waited = |share: f64| format!("{} of {sessions:.1} active sessions waited for it", percent(share));
        [
            pressure("locks in PostgreSQL", locks, waited(locks)),
            pressure("disk of PostgreSQL", disk, waited(disk)),
            pressure(
                "connections of the generator",
                self.pool_share,
                format!("the wait for one was {} of the latency", percent(self.pool_share)),
            ),
        ]
    }

    fn of_others(&self) -> [Pressure; 5] {
        let ingest = self.landed_after / SEALED / 1.5;
        let lag = format!("{} records had not landed at the end; they took {:.0} s", self.lag, self.landed_after);
        let counted = |resource, counts: &BTreeMap<String, u64>, names: &[&str], what: &str| {
            let count: u64 = names.iter().filter_map(|name| counts.get(*name)).sum();
            pressure(resource, if count > 0 { 1.0 } else { 0.0 }, format!("{count} {what}"))
        };
        let rejected = ["search_rejected", "write_rejected", "breakers_tripped"];
        let (delayed, memory) = (["DelayedInserts", "RejectedInserts"], ["QueryMemoryLimitExceeded"]);
        let evicted = ["evicted_keys", "rejected_connections"];
        [
            pressure("ingest", ingest, lag),
            counted("queues of Elasticsearch", &self.elasticsearch, &rejected, "requests rejected"),
            counted("merges of ClickHouse", &self.clickhouse, &delayed, "inserts delayed or rejected"),
            counted("memory of ClickHouse", &self.clickhouse, &memory, "queries exceeded their limit"),
            counted("memory of Redis", &self.redis, &evicted, "keys evicted or connections rejected"),
        ]
    }
}

fn pressure(resource: &str, saturation: f64, evidence: String) -> Pressure {
    Pressure { resource: resource.to_owned(), saturation: saturation.clamp(0.0, 1.0), evidence }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_without_a_first_reading_are_no_pressure() {
        let rejected = |count| Some(BTreeMap::from([("RejectedInserts".to_owned(), count)]));
        assert_eq!(grown(rejected(7), rejected(5))["RejectedInserts"], 2);
        assert_eq!(
            grown(rejected(7), Some(BTreeMap::new()))["RejectedInserts"],
            7,
            "the first ones since the store's start"
        );
        assert!(grown(rejected(7), None).is_empty());
    }

    #[test]
    fn the_most_exhausted_resource_comes_first() {
        let machine = MachineUsage { busy: 0.9, ..MachineUsage::default() };
        let sessions = BTreeMap::from([("Lock".to_owned(), 9.5), ("running".to_owned(), 0.5)]);
        let observed = Observed { machine, postgres_sessions: sessions, ..Observed::default() };
        let named: Vec<String> = observed.pressures().into_iter().map(|one| one.resource).collect();
        assert_eq!(named, ["locks in PostgreSQL", "processors"]);
        assert!(Observed::default().pressures().is_empty(), "an idle machine has no pressure");
    }
}
