//! A worker that is killed, at an exact point of its work or at a random instant, loses nothing and doubles nothing.
//! In its short form a few kills; with `SLUICE_TEST_LONG=1` fifty in one run. The controls break the token and the intent
//! on purpose: the oracle must notice.

use std::time::Duration;

use futures::future::join_all;
use sluice_ingest::config::Settings;
use sluice_testkit::{Gate, eventually};

use crate::harness::{DEADLINE, Record, World, event_record, metric};
use crate::oracle::judge;
use crate::process::same_member;

/// Each with how often it is passed before the kill, so that work is under way.
const POINTS: [&str; 11] = [
    "polled:70",       // after poll, before the record is buffered
    "buffered:170",    // batches half full
    "sealed:3",        // before the intent
    "committing:2",    // the intent on its way
    "committed:2",     // Kafka has it, the worker does not know
    "announced:3",     // after the intent, before the INSERT
    "insert:2",        // the INSERT begins
    "landed:2",        // after ClickHouse's answer, before the offset
    "dead_letter:1",   // before a dead letter is sent
    "dead_lettered:1", // after its acknowledgement, before the offset
    "committing:5",    // an offset on its way
];

/// Records over two months, one in a hundred of which can't be decoded.
fn records(count: u32) -> Vec<Record> {
    let poison = |n: u32| Record { payload: Some(format!("poison {n}").into_bytes()), ..event_record(n) };
    (0..count).map(|n| if n % 100 == 37 { poison(n) } else { event_record(n) }).collect()
}

async fn killed_at(point: &str) {
    let world = World::new().await;
    world.produce_all(&world.producer("lz4"), &records(600)).await;
    world.spawn(&same_member(), &[("SLUICE_FAILPOINT", point)]).aborted().await;
    // Killed a second time while it recovers, then left alone.
    world.spawn(&same_member(), &[("SLUICE_FAILPOINT", "landed:1")]).aborted().await;
    let worker = world.spawn_ready(&same_member(), &[]).await;
    world.settled(600).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("killed at {point}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (600, 6), "{point}");
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_each_point_costs_nothing() {
    for points in POINTS.chunks(4) {
        join_all(points.iter().map(|point| killed_at(point))).await;
    }
}

/// Small batches that grow behind slow answers.
fn growing() -> Settings {
    let mut settings = same_member();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (5, 500);
    }
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_random_instants_cost_nothing() {
    let (grown, off) = tokio::join!(killed_at_random(growing), killed_at_random(same_member));
    assert!(grown > 0.0 && off == 0.0, "{grown} batches have grown, and {off} with growth switched off");
}

/// Gives how many batches were seen to have grown.
async fn killed_at_random(settings: fn() -> Settings) -> f64 {
    let kills = if std::env::var_os("SLUICE_TEST_LONG").is_some() { 50 } else { 4 };
    let world = World::new().await;
    let gate = Gate::slow(&world.stores.clickhouse.url, Duration::from_millis(50)).await;
    let clickhouse = [("SLUICE_STORES__CLICKHOUSE__URL", gate.url.as_str())];
    let producer = world.producer("lz4");
    let (mut total, mut grown) = (0, 0.0);
    for kill in 0..kills {
        let some = records(200);
        world.produce_all(&producer, &some).await;
        total += some.len();
        let worker = world.spawn(&settings(), &clickhouse);
        eventually(DEADLINE * 2, "it takes records in", || async {
            metric(&worker.url, "sluice_ingest_consumed_records_total{", "communication-events").await > 0.0
        })
        .await;
        // Anywhere in what follows; the instants differ from kill to kill and from run to run.
        let instant = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) + kill % 3 * 100;
        tokio::time::sleep(Duration::from_millis(instant)).await;
        grown += metric(&worker.url, "sluice_ingest_batches_total{", "cut=\"backlog\"").await;
        worker.kill().await;
    }
    let worker = world.spawn_ready(&settings(), &clickhouse).await;
    world.settled(total).await;
    grown += metric(&worker.url, "sluice_ingest_batches_total{", "cut=\"backlog\"").await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!(counts.records, total);
    world.drop().await;
    grown
}

/// Kills a worker between an acknowledged INSERT and its commit, and lets another batch size take over.
async fn judged_with(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    world.produce_all(&world.producer("lz4"), &records(300)).await;
    let variables = [("SLUICE_FAILPOINT", "landed:4"), ("SLUICE_FAULTS", faults)];
    world.spawn(&same_member(), &variables).aborted().await;
    let mut settings = same_member();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (77, 77);
    }
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    world.settled(300).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_notices_when_the_token_or_the_intent_is_missing() {
    assert_eq!(judged_with("").await, Ok(()), "a deploy with another batch size, and no faults");
    for faults in ["random_token,trust_acknowledgements", "ignore_intent,trust_acknowledgements"] {
        let judged = judged_with(faults).await;
        assert!(judged.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faults}: {judged:?}");
    }
}
