//! Lag is the number of unread records that can be read. Transaction markers and aborted records do not count, even if nothing
//! was ever committed; records held back by an open transaction are reported separately. The group's offset passes gaps, so a
//! scaler that compares it with the end of the log sees the same lag.

use rdkafka::producer::Producer;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::eventually;

use crate::gaps_in_the_log::{transaction, transactional};
use crate::harness::{DEADLINE, World, metric, november_records};
use crate::obeys_the_operator::sluice;
use crate::oracle::judge;
use crate::process::{Process, short_lived};

/// Lag of a partition and the number of its records held back, from the worker's metrics.
async fn lag_and_held_back(worker: &Process, partition: i32) -> (f64, f64) {
    let label = format!("partition=\"{partition}\"");
    let value = async |name| metric(&worker.url, name, &label).await;
    (value("sluice_ingest_lag{").await, value("sluice_ingest_held_back{").await)
}

async fn wait_for_lag(worker: &Process, partition: i32, expected: (f64, f64)) {
    let is_reached = || async {
        let current = lag_and_held_back(worker, partition).await;
        if current == expected { Ok(()) } else { Err(format!("{current:?}")) }
    };
    eventually(DEADLINE, &format!("lag and records held back of partition {partition} are {expected:?}"), is_reached)
        .await;
}

async fn committed_offset(world: &World, partition: i32) -> Option<i64> {
    world.offsets(COMMUNICATION_EVENTS).await.get(&partition).map(|(offset, _)| *offset)
}

/// A world whose partition 0 has 30 committed records with their marker and 501 offsets of an aborted transaction, and whose
/// partition 1 has only an aborted transaction.
async fn world_with_aborted_transactions() -> World {
    let world = World::new().await;
    let producer = transactional(&world);
    transaction(&world, &producer, &november_records(0, 0..30), true).await;
    transaction(&world, &producer, &november_records(0, 30..530), false).await;
    transaction(&world, &producer, &november_records(1, 0..500), false).await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_and_aborted_records_do_not_count_as_lag() {
    let world = world_with_aborted_transactions().await;
    let worker = world.spawn_ready(&short_lived(), &[]).await;
    world.wait_until_processed(30).await;
    for partition in [0, 1, 2] {
        wait_for_lag(&worker, partition, (0.0, 0.0)).await;
    }
    let has_passed_gaps =
        || async { (committed_offset(&world, 0).await, committed_offset(&world, 1).await) == (Some(532), Some(501)) };
    eventually(DEADLINE, "the group's offsets pass the gaps", has_passed_gaps).await;

    // New records land; until then they count as lag.
    world.produce_all(&world.producer("lz4"), &november_records(1, 500..560)).await;
    world.wait_until_processed(90).await;
    wait_for_lag(&worker, 1, (0.0, 0.0)).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 90);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn if_offsets_do_not_pass_gaps_the_lag_never_reaches_zero() {
    let world = world_with_aborted_transactions().await;
    let worker = world.spawn_ready(&short_lived(), &[("SLUICE_FAULTS", "never_pass_gaps")]).await;
    world.wait_until_processed(30).await;
    wait_for_lag(&worker, 0, (502.0, 0.0)).await;
    wait_for_lag(&worker, 1, (501.0, 0.0)).await;
    assert_eq!((committed_offset(&world, 0).await, committed_offset(&world, 1).await), (Some(30), None));
    worker.stop().await;
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_held_back_by_an_open_transaction_are_reported_separately() {
    let world = World::new().await;
    let worker = world.spawn_ready(&short_lived(), &[]).await;
    let (open, plain) = (transactional(&world), world.producer("lz4"));
    tokio::task::block_in_place(|| open.begin_transaction()).unwrap();
    world.produce_all(&open, &november_records(0, 0..100)).await;
    world.produce_all(&plain, &november_records(0, 100..1000)).await;
    wait_for_lag(&worker, 0, (0.0, 1000.0)).await;
    assert_eq!(world.count().await, 0, "none of these records can be read");
    let status = ["status", "--topic", COMMUNICATION_EVENTS, "--worker", &worker.url];
    assert!(column(&sluice(&world, &status).await.1, 0, 4) == Some("1000".to_owned()), "HELD BACK of status");
    tokio::task::block_in_place(|| open.commit_transaction(DEADLINE)).unwrap();
    world.wait_until_processed(1000).await;
    wait_for_lag(&worker, 0, (0.0, 0.0)).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 1000);
    world.drop_namespace().await;
}

/// One column of a partition's line.
fn column(output: &str, partition: i32, number: usize) -> Option<String> {
    let words = output.lines().map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()));
    let mut lines = words.map(Iterator::collect::<Vec<_>>);
    let line = lines.find(|words| words.get(1) == Some(&partition.to_string().as_str()))?;
    line.get(number).map(|word| (*word).to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_show_reports_the_same_lag_without_a_worker() {
    let world = world_with_aborted_transactions().await;
    let show = async || {
        let (code, output) = sluice(&world, &["offsets", "show", "--topic", COMMUNICATION_EVENTS]).await;
        assert_eq!(code, 0, "{output}");
        let columns = |partition| (column(&output, partition, 4).unwrap(), column(&output, partition, 5).unwrap());
        [columns(0), columns(1), columns(2)].map(|(lag, held_back)| format!("{lag} {held_back}"))
    };
    assert_eq!(show().await, ["532 0", "0 0", "0 0"], "the group has no offset, and partition 1 no record");
    world.set_offset(COMMUNICATION_EVENTS, 0, 30, "").await;
    assert_eq!(show().await, ["0 0", "0 0", "0 0"]);
    world.set_offset(COMMUNICATION_EVENTS, 0, 29, "").await;
    assert_eq!(show().await, ["503 0", "0 0", "0 0"], "one record is unread");

    let (open, plain) = (transactional(&world), world.producer("lz4"));
    tokio::task::block_in_place(|| open.begin_transaction()).unwrap();
    world.produce_all(&open, &november_records(1, 0..10)).await;
    world.produce_all(&plain, &november_records(1, 10..50)).await;
    world.produce_all(&plain, &november_records(2, 0..5)).await;
    assert_eq!(show().await, ["503 0", "0 50", "5 0"]);
    tokio::task::block_in_place(|| open.abort_transaction(DEADLINE)).unwrap();
    eventually(DEADLINE, "the transaction has ended", || async { show().await == ["503 0", "41 0", "5 0"] }).await;
    world.drop_namespace().await;
}
