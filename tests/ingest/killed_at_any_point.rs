//! A worker killed at an exact point of its work or at a random moment loses and duplicates nothing. A short run has a few
//! kills; with `SLUICE_TEST_LONG=1`, one run has fifty. The negative controls disable the token and the intent, which the
//! oracle must detect.

use std::time::Duration;

use futures::future::join_all;
use sluice_ingest::config::Settings;
use sluice_testkit::{TcpProxy, eventually};

use crate::harness::{DEADLINE, Record, World, event_record, metric};
use crate::oracle::judge;
use crate::process::static_member;

/// Failpoints, each with the number of times that it is reached before the kill, so that work is in flight.
const POINTS: [&str; 11] = [
    "polled:70",       // after poll, before the record is buffered
    "buffered:170",    // batches half full
    "sealed:3",        // before the intent
    "committing:2",    // the intent in flight
    "committed:2",     // Kafka has the commit, the worker does not know
    "announced:3",     // after the intent, before the INSERT
    "insert:2",        // the INSERT begins
    "landed:2",        // after ClickHouse's response, before the offset
    "dead_letter:1",   // before a dead letter is sent
    "dead_lettered:1", // after its acknowledgement, before the offset
    "committing:5",    // an offset in flight
];

/// Records over 60 days, one in a hundred of them poison.
fn records(count: u32) -> Vec<Record> {
    let poison = |n: u32| Record { payload: Some(format!("poison {n}").into_bytes()), ..event_record(n) };
    (0..count).map(|n| if n % 100 == 37 { poison(n) } else { event_record(n) }).collect()
}

async fn kill_at(point: &str) {
    let world = World::new().await;
    world.produce_all(&world.producer("lz4"), &records(600)).await;
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", point)]).wait_for_abort().await;
    // The next worker is killed during recovery; the one after it keeps running.
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    let worker = world.spawn_ready(&static_member(), &[]).await;
    world.wait_until_processed(600).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("killed at {point}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (600, 6), "{point}");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_point_loses_nothing() {
    for points in POINTS.chunks(4) {
        join_all(points.iter().map(|point| kill_at(point))).await;
    }
}

/// Small batches that grow behind slow responses.
fn growing() -> Settings {
    let mut settings = static_member();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (5, 500);
    }
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_moments_lose_nothing() {
    let (grown, not_grown) = tokio::join!(kill_at_random_moments(growing), kill_at_random_moments(static_member));
    assert!(grown > 0.0 && not_grown == 0.0, "{grown} batches grew, and {not_grown} with growth disabled");
}

/// Kills workers at random moments; returns how many batches grew, according to the metrics before each kill.
async fn kill_at_random_moments(settings: fn() -> Settings) -> f64 {
    let kills = if std::env::var_os("SLUICE_TEST_LONG").is_some() { 50 } else { 4 };
    let world = World::new().await;
    let proxy = TcpProxy::with_delay(&world.stores.clickhouse.url, Duration::from_millis(50)).await;
    let clickhouse = [("SLUICE_STORES__CLICKHOUSE__URL", proxy.url.as_str())];
    let producer = world.producer("lz4");
    let (mut total, mut grown) = (0, 0.0);
    for kill in 0..kills {
        let batch = records(200);
        world.produce_all(&producer, &batch).await;
        total += batch.len();
        let worker = world.spawn(&settings(), &clickhouse);
        eventually(DEADLINE * 2, "the worker consumes records", || async {
            metric(&worker.url, "sluice_ingest_consumed_records_total{", "communication-events").await > 0.0
        })
        .await;
        // A random moment after that, different for each kill and each run.
        let millis = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) + kill % 3 * 100;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        grown += metric(&worker.url, "sluice_ingest_batches_total{", "reason=\"backlog\"").await;
        worker.kill().await;
    }
    let worker = world.spawn_ready(&settings(), &clickhouse).await;
    world.wait_until_processed(total).await;
    grown += metric(&worker.url, "sluice_ingest_batches_total{", "reason=\"backlog\"").await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!(counts.records, total);
    world.drop_namespace().await;
    grown
}

/// Kills a worker between an acknowledged INSERT and its commit; a worker with another batch size takes over.
async fn judge_takeover_with(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    world.wait_until_tables_are_old().await;
    world.produce_all(&world.producer("lz4"), &records(300)).await;
    let variables = [("SLUICE_FAILPOINT", "landed:4"), ("SLUICE_FAULTS", faults)];
    world.spawn(&static_member(), &variables).wait_for_abort().await;
    let mut settings = static_member();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (77, 77);
    }
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    world.wait_until_processed(300).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_detects_a_missing_token_or_intent() {
    assert_eq!(judge_takeover_with("").await, Ok(()), "a deployment with another batch size, and no faults");
    for faults in ["random_token,trust_acknowledgements", "ignore_intent,trust_acknowledgements"] {
        let judged = judge_takeover_with(faults).await;
        assert!(judged.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faults}: {judged:?}");
    }
}
