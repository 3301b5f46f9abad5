//! Offsets without a record (aborted transactions, compacted records) and records without a payload. A range that was announced
//! before its last records were compacted keeps its end, and the worker never waits for an offset that no longer exists.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, Producer};
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::eventually;

use crate::harness::{DEADLINE, Record, World, header, metric, november_records};
use crate::oracle::{Allowed, Position, judge, judge_allowing};
use crate::process::{short_lived, static_member};

/// Creates a transactional producer.
pub(crate) fn transactional(world: &World) -> FutureProducer {
    let id = world.names.group("transactional");
    let producer: FutureProducer =
        connect::kafka_config(&world.stores).set("transactional.id", id).set("linger.ms", "5").create().unwrap();
    tokio::task::block_in_place(|| producer.init_transactions(DEADLINE)).unwrap();
    producer
}

pub(crate) async fn transaction(world: &World, producer: &FutureProducer, records: &[Record], is_committed: bool) {
    tokio::task::block_in_place(|| producer.begin_transaction()).unwrap();
    world.produce_all(producer, records).await;
    let end =
        || if is_committed { producer.commit_transaction(DEADLINE) } else { producer.abort_transaction(DEADLINE) };
    tokio::task::block_in_place(end).unwrap();
}

async fn wait_for_commit(world: &World, partition: i32, offset: i64) {
    let current = || async { world.offsets(COMMUNICATION_EVENTS).await.get(&partition).map(|(offset, _)| *offset) };
    eventually(DEADLINE * 2, "everything is committed", || async { current().await == Some(offset) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_records_are_ignored() {
    let world = World::new().await;
    let producer = transactional(&world);
    for (numbers, is_committed) in [(0..30, true), (30..60, false), (60..100, true), (100..110, false)] {
        transaction(&world, &producer, &november_records(0, numbers), is_committed).await;
    }
    world.wait_until_tables_are_old().await;
    // The first range has 30 records, an aborted transaction between two markers, and 20 records.
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    let settings = static_member();
    let worker = world.spawn_ready(&settings, &[]).await;
    // 30 records, a marker, 30 aborted records, a marker, 40 records, a marker, 10 aborted records, a marker.
    wait_for_commit(&world, 0, 30 + 1 + 30 + 1 + 40 + 1 + 10 + 1).await;
    assert!(
        metric(&worker.url, "sluice_ingest_lookups_total{", "").await < 1.0,
        "the range has the same digest, so there is no lookup"
    );
    transaction(&world, &producer, &november_records(0, 110..120), true).await;
    world.wait_until_processed(80).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.landed), (80, 80));
    world.drop_namespace().await;
}

/// Kills a worker at this point with two announced ranges; then the records `lost` are compacted, and another worker takes over.
async fn takeover_after_compaction(point: &str, lost: std::ops::Range<u32>) {
    let world = World::new().await;
    let topic = world.names.topic(COMMUNICATION_EVENTS);
    let keyed = |n: u32, record: Record| Record { key: Some(format!("key {n}").into_bytes()), ..record };
    let records: Vec<_> = (0..).zip(november_records(0, 0..100)).map(|(n, record)| keyed(n, record)).collect();
    let producer = world.producer("none");
    world.produce_all(&producer, &records).await;
    let before = log(&world).await;
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", point)]).wait_for_abort().await;
    let landed_before = world.count().await;

    compact_soon(&world, &topic).await;
    let newer_values: Vec<_> =
        lost.clone().zip(november_records(0, 200..300)).map(|(n, record)| keyed(n, record)).collect();
    world.produce_all(&producer, &newer_values).await;
    let mut after = before.clone();
    let mut next_number = 1000;
    let is_compacted =
        |log: &BTreeMap<Position, OwnedMessage>| lost.clone().all(|n| !log.contains_key(&(0, i64::from(n))));
    // The next record after `segment.ms` closes a segment, and the last segment is never compacted.
    let next_segment = async || {
        world
            .produce_all(&producer, &[keyed(next_number, november_records(0, next_number..next_number + 1).remove(0))])
            .await;
        next_number += 1;
        after = log(&world).await;
        is_compacted(&after)
    };
    repeat_until(next_segment).await;
    assert!(is_compacted(&after) && !is_compacted(&before), "{point}: the log has lost the records");

    let settings = static_member();
    let worker = world.spawn_ready(&settings, &[]).await;
    let end = after.keys().next_back().unwrap().1 + 1;
    wait_for_commit(&world, 0, end).await;
    worker.stop().await;
    let records = after.len();
    let counts = judge_allowing(&world, Allowed { removed: before, foreign: 0 })
        .await
        .unwrap_or_else(|wrong| panic!("{point}, {lost:?}: {wrong}"));
    let landed_and_lost = lost.clone().filter(|n| (*n as usize) < landed_before).count();
    assert_eq!(
        counts.landed,
        records + landed_and_lost,
        "{point}, {lost:?}: landed rows stay, lost records do not land"
    );
    world.drop_namespace().await;
}

/// Has the broker compact the topic as soon as it can.
async fn compact_soon(world: &World, topic: &str) {
    let policy = AlterConfig::new(ResourceSpecifier::Topic(topic))
        .set("cleanup.policy", "compact")
        .set("min.cleanable.dirty.ratio", "0.01")
        .set("segment.ms", "100");
    let clean_soon = AlterConfig::new(ResourceSpecifier::Broker(1)).set("log.cleaner.backoff.ms", "500");
    for altered in world.admin().alter_configs([&policy, &clean_soon], &AdminOptions::new()).await.unwrap() {
        altered.unwrap();
    }
}

/// Repeats an action until it returns `true`.
async fn repeat_until(mut act: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !act().await {
        assert!(started.elapsed() < DEADLINE * 2, "the log is compacted in time");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

async fn log(world: &World) -> BTreeMap<Position, OwnedMessage> {
    let records = world.read_all(COMMUNICATION_EVENTS).await.into_iter();
    records.map(|record| ((rdkafka::Message::partition(&record), rdkafka::Message::offset(&record)), record)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_ranges_survive_compaction_of_their_last_records() {
    tokio::join!(
        takeover_after_compaction("announced:1", 30..50), // nothing had landed; the end of the first range is compacted
        takeover_after_compaction("landed:1", 30..50),    // the first range had landed
        takeover_after_compaction("landed:1", 30..100),   // and the whole second range is compacted
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_is_dead_lettered_at_any_position() {
    let world = World::new().await;
    let mut records = november_records(0, 0..100);
    for n in [0, 20, 49, 50, 99] {
        records[n].payload = None;
    }
    world.produce_all(&world.producer("lz4"), &records).await;
    world.spawn(&static_member(), &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    wait_for_commit(&world, 0, 100).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (95, 5));
    for letter in world.dead_letters().await.values() {
        assert_eq!(header(letter, "sluice.reason").as_deref(), Some("tombstone"));
    }
    world.drop_namespace().await;
}
