//! The bulk load: the population and its past go into the stores, all of them at once, before the drive.
//! A population and the stores go in, counts per store and kind come out. Never looks at what is there already: it
//! expects the empty tables of a fresh namespace.

mod clickhouse;
mod elasticsearch;
mod postgres;
mod redis;

pub(crate) use elasticsearch::document;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tokio_util::sync::CancellationToken;

use crate::concurrency::lock;
use crate::population::{Population, Tenant};
use crate::scenario::Scenario;

/// `_topic` of the rows that were loaded and did not come through Kafka.
pub const LOADED_TOPIC: &str = "loaded";

/// Share of each tenant's customers, from the first on, whose context is loaded into the cache: one in so many.
pub const HOT_CUSTOMERS: u64 = 5;

/// How long no store may take a record before the load gives up: a store that is frozen gives no error by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a load put into the stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Records per store and kind, such as `PostgreSQL customers`.
    pub records: BTreeMap<String, u64>,
    /// How long all of it took.
    #[serde(with = "humantime_serde")]
    pub took: Duration,
}

/// Told about progress while the load runs, from several tasks at once: a kind as in [`Loaded::records`], and how many
/// more records of it the store has taken.
pub type OnProgress<'a> = dyn Fn(&str, u64) + Send + Sync + 'a;

/// A load that could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A store could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL refused or broke.
    #[error("load PostgreSQL: {0}; are the schemas applied, and the namespace fresh?")]
    Postgres(#[from] sqlx::Error),
    /// ClickHouse refused or broke.
    #[error("load ClickHouse: {0}; are the schemas applied?")]
    ClickHouse(#[from] ::clickhouse::error::Error),
    /// Elasticsearch could not be asked.
    #[error("load Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// A store acknowledged records that it does not have.
    #[error(
        "load {kind}: {loaded} were acknowledged, but the store has {found}; does the store itself answer at its address?"
    )]
    NotThere {
        /// What was loaded.
        kind: &'static str,
        /// How many were acknowledged.
        loaded: u64,
        /// How many the store has.
        found: u64,
    },
    /// Elasticsearch refused some documents.
    #[error("load Elasticsearch: it refused documents; the first: {0}")]
    Refused(String),
    /// Redis refused or broke.
    #[error("load Redis: {0}")]
    Redis(#[from] crate::target::AskError),
    /// No store takes anything any more.
    #[error("load the stores: none has taken a record for {} s; unfinished: {unfinished}; does it still answer? `sluice status` shows it", PATIENCE.as_secs())]
    Stalled {
        /// Stores that are not all loaded.
        unfinished: String,
    },
    /// Somebody wanted it to stop.
    #[error("load the stores: stopped")]
    Stopped,
}

/// Everything a loader needs.
#[derive(Clone, Copy)]
struct Job<'a> {
    stores: &'a Stores,
    names: &'a Names,
    population: &'a Population,
    /// End of the simulated time that will be driven.
    until: DateTime<Utc>,
    stop: &'a CancellationToken,
    progress: &'a OnProgress<'a>,
}

impl Job<'_> {
    fn proceed(&self) -> Result<(), LoadError> {
        if self.stop.is_cancelled() { Err(LoadError::Stopped) } else { Ok(()) }
    }
}

/// How many records of each kind a load of this population puts into the stores; the keys of [`Loaded::records`] whose
/// number is known beforehand.
pub fn expected(population: &Population) -> BTreeMap<String, u64> {
    let tenants = population.tenants();
    let sum = |count: fn(&Tenant) -> u64| tenants.iter().map(count).sum::<u64>();
    [
        (postgres::CUSTOMERS, sum(|tenant| tenant.customers)),
        (postgres::CAMPAIGNS, sum(|tenant| tenant.campaigns)),
        (postgres::COMMUNICATIONS, sum(|tenant| tenant.history)),
        (elasticsearch::COMMUNICATIONS, sum(|tenant| tenant.history)),
        (clickhouse::METRICS, sum(|tenant| tenant.history_metrics)),
        (redis::CONTEXTS, sum(hot)),
    ]
    .map(|(kind, count)| (kind.to_owned(), count))
    .into()
}

/// Customers of a tenant whose context is loaded into the cache: those with the lowest indices.
pub fn hot(tenant: &Tenant) -> u64 {
    tenant.customers.div_ceil(HOT_CUSTOMERS)
}

/// Loads everything into all stores at once.
pub async fn load(
    stores: &Stores,
    names: &Names,
    scenario: &Scenario,
    population: &Population,
    stop: &CancellationToken,
    progress: &OnProgress<'_>,
) -> Result<Loaded, LoadError> {
    let started = Instant::now();
    let counted = Counted::default();
    let count = |kind: &str, more: u64| {
        counted.add(kind, more);
        progress(kind, more);
    };
    let until = scenario.start + scenario.span;
    let job = Job { stores, names, population, until, stop, progress: &count };
    let all = async {
        tokio::try_join!(
            counted.of("PostgreSQL", postgres::load(job)),
            counted.of("ClickHouse", clickhouse::load(job)),
            counted.of("Elasticsearch", elasticsearch::load(job)),
            counted.of("Redis", redis::load(job)),
        )
    };
    tokio::select! {
        loaded = all => loaded.map(|_| ())?,
        () = counted.stalled() => return Err(LoadError::Stalled { unfinished: counted.unfinished() }),
        () = stop.cancelled() => return Err(LoadError::Stopped),
    }
    let records = counted.records.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Loaded { records, took: started.elapsed() })
}

/// What was taken so far, by kind, and when the count last grew.
struct Counted {
    records: Mutex<BTreeMap<String, u64>>,
    /// Stores that are not yet loaded.
    unfinished: Mutex<BTreeSet<&'static str>>,
    grew: Mutex<Instant>,
}

impl Default for Counted {
    fn default() -> Self {
        Self { records: Mutex::default(), unfinished: Mutex::default(), grew: Mutex::new(Instant::now()) }
    }
}

impl Counted {
    fn add(&self, kind: &str, more: u64) {
        let mut records = lock(&self.records);
        *records.entry(kind.to_owned()).or_default() += more;
        *lock(&self.grew) = Instant::now();
    }

    /// Comes back when the count has not grown for [`PATIENCE`].
    async fn stalled(&self) {
        loop {
            let idle = lock(&self.grew).elapsed();
            let Some(left) = PATIENCE.checked_sub(idle) else { return };
            tokio::time::sleep(left).await;
        }
    }

    /// One store's load; it counts as unfinished until it is done.
    async fn of<T>(
        &self,
        store: &'static str,
        load: impl Future<Output = Result<T, LoadError>>,
    ) -> Result<T, LoadError> {
        lock(&self.unfinished).insert(store);
        let loaded = Box::pin(load).await;
        lock(&self.unfinished).remove(store);
        loaded
    }

    fn unfinished(&self) -> String {
        let stores = lock(&self.unfinished);
        stores.iter().copied().collect::<Vec<_>>().join(", ")
    }
}

/// `0..count` in pieces of at most `size`.
fn chunks(count: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    (0..count).step_by(size as usize).map(move |from| from..count.min(from + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_load_that_stands_still_gives_up() {
        let counted = Counted::default();
        counted.add("x", 1);
        *counted.grew.lock().unwrap() = Instant::now().checked_sub(PATIENCE).unwrap();
        counted.stalled().await;
    }

    #[test]
    fn chunks_cover_everything_once() {
        assert_eq!(chunks(25, 10).collect::<Vec<_>>(), [0..10, 10..20, 20..25]);
        assert_eq!(chunks(0, 10).count(), 0);
    }
}
