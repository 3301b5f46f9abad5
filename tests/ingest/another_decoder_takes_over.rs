//! A deployment with other batch sizes and another decoder takes over the ranges that an earlier one announced. Landed rows
//! are found, missing ones are sent, and no record ends up both in the table and in the dead-letter topic.

use bytesize::ByteSize;
use chrono::Days;
use futures::future::join_all;
use sluice_ingest::config::Settings;

use crate::harness::{Record, World, event, event_record, metric, november_records};
use crate::oracle::{Counts, judge};
use crate::process::{static_member, wait_for_commit};

/// Settings of the same worker with this batch size and record limit; another limit makes it another decoder.
fn deployment_settings(rows: usize, record: ByteSize) -> Settings {
    let mut settings = static_member();
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_rows = rows;
        pipeline.limits.record = record;
    }
    settings
}

/// A limit that is exceeded only by the records of [`enlarge`].
const SMALL: ByteSize = ByteSize::kib(2);
const LARGE: ByteSize = ByteSize::kib(64);

/// Pads the record so that only a decoder with [`LARGE`] accepts it.
fn enlarge(record: &mut Record) {
    record.payload.as_mut().unwrap().resize(3 * 1024, b' ');
}

/// Kills a worker with announced ranges at this point, and lets one with other settings take over. A batch of 50 records spans
/// three months.
async fn take_over_after(point: &str, next: Settings) {
    let world = World::new().await;
    let records: Vec<_> = (0..200).map(|n| Record { partition: Some(0), ..event_record(n) }).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    world.spawn(&deployment_settings(50, ByteSize::mib(1)), &[("SLUICE_FAILPOINT", point)]).wait_for_abort().await;
    let rows = world.count().await;
    let is_same_decoder = next.pipelines["communication-events"].limits.record == ByteSize::mib(1);
    let worker = world.spawn_ready(&next, &[]).await;
    wait_for_commit(&world, 200).await;
    let found_rows = metric(&worker.url, "sluice_ingest_found_rows_total{", "").await;
    if !is_same_decoder {
        assert_eq!(found_rows as u64, rows as u64, "{point}: all landed rows were found");
    }
    worker.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{point}: {wrong}"));
    assert_eq!((counts.landed, counts.dead_lettered), (200, 0), "{point}");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_ranges_are_looked_up_by_another_decoder() {
    let next = || deployment_settings(77, LARGE);
    // Announced but not sent; killed between its parts, twice; landed but not committed.
    let points = ["announced:1", "landed:1", "landed:2", "landed:3"];
    join_all(points.iter().map(|point| take_over_after(point, next()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_several_months_is_completed_by_the_same_decoder() {
    let next = || deployment_settings(20, ByteSize::mib(1));
    join_all(["landed:1", "landed:2"].iter().map(|point| take_over_after(point, next()))).await;
}

/// Records of forty months in one batch, each month a separate INSERT; the worker is killed between two of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_spanning_forty_months_lands_once() {
    let world = World::new().await;
    let of_month = |n: u32| {
        let mut event = event(60 * n);
        event.timestamp = event.timestamp - Days::new(31 * u64::from(n % 40));
        Record { payload: Some(serde_json::to_vec(&event).unwrap()), partition: Some(0), ..event_record(n) }
    };
    let records: Vec<_> = (0..200).map(of_month).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    world
        .spawn(&deployment_settings(200, ByteSize::mib(1)), &[("SLUICE_FAILPOINT", "landed:20")])
        .wait_for_abort()
        .await;
    assert_eq!(world.count().await, 100, "half the months have landed");
    let worker = world.spawn_ready(&deployment_settings(200, ByteSize::mib(1)), &[]).await;
    wait_for_commit(&world, 200).await;
    assert_eq!(metric(&worker.url, "sluice_ingest_batches_total{", "reason=\"announced\"").await as u64, 1);
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (200, 0));
    world.drop_namespace().await;
}

/// The earlier decoder accepted a record that the next one rejects: it has landed, so it does not become a dead letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stricter_decoder_does_not_dead_letter_landed_records() {
    let world = World::new().await;
    let mut records = november_records(0, 0..40);
    enlarge(&mut records[7]);
    // Not yet announced when the worker is killed, so the next decoder decides about these.
    let mut later = november_records(0, 40..60);
    enlarge(&mut later[0]);
    let producer = world.producer("lz4");
    world.produce_all(&producer, &records).await;
    world.spawn(&deployment_settings(40, LARGE), &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    assert_eq!(world.count().await, 40);
    world.produce_all(&producer, &later).await;
    let worker = world.spawn_ready(&deployment_settings(40, SMALL), &[]).await;
    wait_for_commit(&world, 60).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (59, 1));
    world.drop_namespace().await;
}

/// The earlier decoder rejected a record that the next one accepts. It stays a dead letter, whether or not the other records of
/// its range have landed.
async fn judge_laxer_decoder(point: &str, faults: &str) -> Result<Counts, String> {
    let world = World::new().await;
    let mut records = november_records(0, 0..40);
    enlarge(&mut records[7]);
    world.produce_all(&world.producer("lz4"), &records).await;
    world.spawn(&deployment_settings(40, SMALL), &[("SLUICE_FAILPOINT", point)]).wait_for_abort().await;
    assert_eq!(world.dead_letters().await.len(), 1, "{point}");
    let worker = world.spawn_ready(&deployment_settings(40, LARGE), &[("SLUICE_FAULTS", faults)]).await;
    wait_for_commit(&world, 40).await;
    worker.stop().await;
    let judged = judge(&world).await;
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laxer_decoder_does_not_land_dead_lettered_records() {
    let points = ["dead_lettered:1", "landed:1"];
    for counts in join_all(points.map(|point| judge_laxer_decoder(point, ""))).await {
        let Counts { landed, dead_lettered, .. } = counts.unwrap();
        assert_eq!((landed, dead_lettered), (39, 1));
    }
    let wrong = judge_laxer_decoder("dead_lettered:1", "ignore_sent_letters").await.unwrap_err();
    assert!(wrong.contains("1 records landed and were dead-lettered"), "negative control: {wrong}");
}
