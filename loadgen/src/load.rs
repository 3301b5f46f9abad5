//! The bulk load: writes the population and its past into all stores concurrently, before the drive.
//! It continues where an interrupted load ended, and loads nothing that the ledger records as loaded.

mod clickhouse;
mod copies;
mod elasticsearch;
mod error;
mod job;
mod kafka;
mod ledger;
mod postgres;
mod progress;
mod redis;

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;
use sluice_schemas::Store;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::population::{Era, Population, Tenant};
use crate::question::{cached_profiles::cached_customers, metric_range, recent_search};
use crate::scenario::Scenario;
use error::STALL_LIMIT;
use job::Job;
use ledger::Ledger;
use progress::LoadProgress;

pub use clickhouse::LOADED_TOPIC;
pub(crate) use elasticsearch::document;
pub use error::LoadError;
pub use job::{OnProgress, Records};

/// Longest time in which what an earlier drive added is removed; the stores show no progress.
const RESTORE_LIMIT: Duration = Duration::from_mins(30);

/// The result of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Records per store and kind, such as `PostgreSQL customers`.
    pub records: BTreeMap<String, u64>,
    /// Duration of the load.
    #[serde(with = "humantime_serde")]
    pub took: Duration,
}

/// Records of each kind that a load of this population will write, by the keys of [`Loaded::records`]. Interactions are omitted:
/// their number is known only when all are generated.
pub fn expected_records(population: &Population) -> BTreeMap<String, u64> {
    let tenants = population.tenants();
    let length = |range: &std::ops::Range<u64>| range.end - range.start;
    let sum = |count: fn(&Tenant) -> u64| tenants.iter().map(count).sum::<u64>();
    [
        (postgres::CUSTOMERS, sum(|tenant| tenant.customers)),
        (postgres::CAMPAIGNS, sum(|tenant| tenant.campaigns)),
        (postgres::COMMUNICATIONS, sum(|tenant| tenant.past_communications)),
        (elasticsearch::COMMUNICATIONS, sum(|tenant| tenant.past_communications)),
        (clickhouse::EVENTS, (0..tenants.len()).map(|tenant| population.event_count(Era::Past, tenant)).sum()),
        (clickhouse::METRICS, sum(|tenant| tenant.past_metrics)),
        (redis::CONTEXTS, sum(cached_customers)),
        (redis::SESSIONS, sum(|tenant| tenant.agents)),
        (redis::RECENT, tenants.iter().map(|tenant| length(&recent_search::recent(population, tenant))).sum()),
        (redis::SAMPLES, tenants.iter().map(|tenant| length(&metric_range::retained(population, tenant))).sum()),
    ]
    .map(|(kind, count)| (kind.to_owned(), count))
    .into()
}

/// Stores whose records a later session may keep. The others are loaded anew: records of the Redis cache expire, and the
/// rest hold nothing before a drive.
pub const KEPT: [Store; 3] = [Store::Postgres, Store::ClickHouse, Store::Elasticsearch];

/// Whether the stores of a run's namespace hold the population of that digest, or the part of it at which a load was
/// interrupted.
pub async fn is_known(stores: &Stores, names: &Names, digest: &str) -> Result<bool, LoadError> {
    within(STALL_LIMIT, "the ledger in PostgreSQL", ledger::knows(stores, names, digest)).await
}

/// Creates what the stores need for the simulated time that a later trial drives: partitions of PostgreSQL.
pub async fn ensure_partitions(stores: &Stores, names: &Names, population: &Population) -> Result<(), LoadError> {
    let prepared = postgres::ensure_partitions(stores, names, population.driven_period());
    within(STALL_LIMIT, "the partitions of PostgreSQL", prepared).await
}

/// Limits a step that shows no progress: a frozen store returns nothing, not even an error.
async fn within<T>(
    limit: Duration,
    what: &'static str,
    step: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    timeout(limit, step).await.unwrap_or(Err(LoadError::Silent { what, limit }))
}

/// Removes what drives have added to a population that is loaded, from PostgreSQL, ClickHouse and Kafka. Everything that was driven
/// must have landed. `digest` is that of the population.
pub async fn restore(
    (stores, names): (&Stores, &Names),
    scenario: &Scenario,
    (population, digest): (&Population, &str),
    stop: &CancellationToken,
) -> Result<(), LoadError> {
    let ledger = within(STALL_LIMIT, "the ledger in PostgreSQL", Ledger::open(stores, names, digest)).await?;
    let until = scenario.start + scenario.span;
    let job = Job { stores, names, population, until, stop, progress: &|_, _| (), ledger: &ledger };
    remove_driven(job).await?;
    within(STALL_LIMIT, "the removal of the records in Kafka", kafka::restore(job)).await
}

async fn remove_driven(job: Job<'_>) -> Result<(), LoadError> {
    let removing = Box::pin(async { tokio::try_join!(postgres::restore(job), clickhouse::restore(job)) });
    let removing = within(RESTORE_LIMIT, "the removal of what a drive added", removing);
    job.stop.run_until_cancelled(removing).await.ok_or(LoadError::Stopped)?.map(drop)
}

/// Loads all stores concurrently, after deleting what a drive has added to records that are there already. `digest` is that
/// of the population.
pub async fn load(
    (stores, names): (&Stores, &Names),
    scenario: &Scenario,
    (population, digest): (&Population, &str),
    stop: &CancellationToken,
    progress: &OnProgress<'_>,
) -> Result<Loaded, LoadError> {
    let started = Instant::now();
    let ledger = within(STALL_LIMIT, "the ledger in PostgreSQL", Ledger::open(stores, names, digest)).await?;
    let progressed = LoadProgress::default();
    let count = |kind: &str, records| {
        if let Records::Loaded(more) = records {
            progressed.add(kind, more);
        }
        progress(kind, records);
    };
    let until = scenario.start + scenario.span;
    let job = Job { stores, names, population, until, stop, progress: &count, ledger: &ledger };
    if !ledger.is_empty() {
        remove_driven(job).await?;
        // It accepts no record, and may take long.
        progressed.restart();
    }
    let all = async {
        tokio::try_join!(
            progressed.track("PostgreSQL", postgres::load(job)),
            progressed.track("ClickHouse", clickhouse::load(job)),
            progressed.track("Elasticsearch", elasticsearch::load(job)),
        )?;
        // Its values expire, and a load may take hours.
        progressed.track("Redis", redis::load(job)).await
    };
    tokio::select! {
        loaded = Box::pin(all) => loaded?,
        () = progressed.wait_until_stalled() => return Err(LoadError::Stalled { unfinished: progressed.unfinished() }),
        () = stop.cancelled() => return Err(LoadError::Stopped),
    }
    let records = progressed.records.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Loaded { records, took: started.elapsed() })
}
