//! A load continues where an interrupted one ended, loads nothing twice, and takes the stores back to the population alone,
//! whatever a drive has added since.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use sluice_loadgen::load::{self, LoadError, Loaded, Records};
use sluice_schemas::connect::{self, Role};
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// What the stores hold: PostgreSQL's communications; ClickHouse's events, metrics, and events in aggregates.
async fn holdings(world: &World) -> [u64; 4] {
    let pool = connect::postgres(&world.stores, &world.names, Role::Loader).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM communications").fetch_one(&pool).await.unwrap();
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let count = |query: &'static str| clickhouse.query(query).fetch_one::<u64>();
    let events = count("SELECT count() FROM communication_events").await.unwrap();
    let metrics = count("SELECT count() FROM agent_metrics").await.unwrap();
    let aggregated = count("SELECT sum(total_events) FROM campaign_performance").await.unwrap();
    [rows.cast_unsigned(), events, metrics, aggregated]
}

fn total(loaded: &Loaded) -> u64 {
    loaded.records.values().sum()
}

/// Loads until ClickHouse has accepted that many metrics.
async fn load_until(world: &World, metrics: u64) {
    let (stop, seen) = (CancellationToken::new(), Mutex::new(0));
    let progress = |kind: &str, records: Records| {
        if kind == "ClickHouse agent_metrics"
            && let Records::Loaded(more) = records
        {
            *seen.lock().unwrap() += more;
            if *seen.lock().unwrap() >= metrics {
                stop.cancel();
            }
        }
    };
    let stopped = world.load_into(&world.stores, &stop, &progress).await.expect_err("the load was not interrupted");
    assert!(matches!(stopped, LoadError::Stopped), "{stopped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_load_continues_and_a_complete_one_is_not_repeated() {
    let many_metrics = |scenario: &mut sluice_loadgen::scenario::Scenario| {
        scenario.customers_per_agent = 6;
        scenario.metric_interval = Duration::from_mins(10);
    };
    let (whole, at_once) = World::loaded_with(many_metrics).await;
    let expected = holdings(&whole).await;
    whole.drop_namespace().await;

    let world = World::applied_with(many_metrics).await;
    let metrics = expected[2];
    load_until(&world, metrics * 3 / 4).await;
    let (stop, none) = (CancellationToken::new(), |_: &str, _: Records| ());
    let counts = Mutex::new(BTreeMap::<String, [u64; 2]>::new());
    let counting = |kind: &str, records: Records| {
        let mut counts = counts.lock().unwrap();
        let [loaded, kept] = counts.entry(kind.to_owned()).or_default();
        match records {
            Records::Loaded(more) => *loaded += more,
            Records::Kept(count) => *kept += count,
        }
    };
    let continued = world.load_into(&world.stores, &stop, &counting).await.unwrap();
    let counts = counts.into_inner().unwrap();
    for (kind, expected) in load::expected_records(world.plan.population()) {
        let [loaded, kept] = counts[&kind];
        assert_eq!(loaded + kept, expected, "{kind}: {loaded} loaded, {kept} kept");
    }
    assert!(counts.values().any(|[_, kept]| *kept > 0), "{counts:?}");
    assert!(total(&continued) < total(&at_once) - metrics / 4, "it did not start again: {continued:?}");
    assert_eq!(holdings(&world).await, expected);

    let again = world.load_into(&world.stores, &stop, &none).await.unwrap();
    let is_of_redis = |kind: &String| kind.starts_with("Redis ");
    assert!(again.records.keys().all(is_of_redis), "only Redis, whose records expire, is loaded again: {again:?}");
    assert_eq!(holdings(&world).await, expected);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_drive_added_is_gone_after_the_next_load() {
    let (world, _) = World::loaded().await;
    let loaded = holdings(&world).await;
    world.drive_and_wait().await;
    let driven = holdings(&world).await;
    assert!(driven.iter().zip(loaded).all(|(driven, loaded)| *driven > loaded), "negative control: {driven:?}");
    world.load_into(&world.stores, &CancellationToken::new(), &|_, _| ()).await.unwrap();
    assert_eq!(holdings(&world).await, loaded);
    world.drop_namespace().await;
}
