//! The group's offsets are deleted, moved, written by another program or outside the log, or the topic was recreated. A worker
//! looks up rows before it writes, or stops that partition and reports why. It never guesses, and other partitions continue.

use std::time::Duration;

use rdkafka::admin::AdminOptions;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{ProxyMode, TcpProxy, eventually};

use crate::harness::{DEADLINE, World, metric, november_records, quick_settings, status, wait_for_stall};
use crate::obeys_the_operator::sluice;
use crate::oracle::{Allowed, judge, judge_allowing};
use crate::process::{Process, short_lived, static_member, wait_for_commit};

/// A world whose partition 0 has `records` records, all of them landed; its worker has left.
async fn world_with_landed_records(records: u32) -> World {
    let world = World::new().await;
    let worker = world.start(quick_settings()).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..records)).await;
    world.wait_until_processed(records as usize).await;
    worker.stop().await;
    assert_eq!(world.committed_sum(COMMUNICATION_EVENTS).await, i64::from(records));
    world
}

/// Verifies that a worker stops partition 0 for this reason and commits nothing of it, while partition 1 continues.
async fn verify_only_partition_0_stops(world: &World, why: &str) {
    let before = world.offsets(COMMUNICATION_EVENTS).await;
    let rows = world.count().await;
    world.produce_all(&world.producer("lz4"), &november_records(1, 0..20)).await;
    let worker = world.spawn(&short_lived(), &[]);
    wait_for_stall(&worker.url, why).await;
    world.wait_for_rows(rows + 20).await;
    worker.stop().await;
    let after = world.offsets(COMMUNICATION_EVENTS).await;
    assert_eq!((after.get(&0), after[&1].0), (before.get(&0), 20));
    assert_eq!(world.count().await, rows + 20, "nothing of partition 0 was written");
}

/// Stops the worker once the committed offset of partition 0 is `until`.
async fn stop_after_commit(world: &World, worker: Process, until: i64) {
    let committed = || async { world.offsets(COMMUNICATION_EVENTS).await.get(&0).map(|(offset, _)| *offset) };
    eventually(DEADLINE * 2, "everything is committed", || async { committed().await == Some(until) }).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_group_waits_for_an_operators_decision() {
    let world = world_with_landed_records(100).await;
    let group = world.names.group("clickhouse-ingest");
    let deleted = world.admin().delete_groups(&[&group], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    assert_eq!(world.offsets(COMMUNICATION_EVENTS).await.len(), 0);
    world.produce_all(&world.producer("lz4"), &november_records(0, 100..150)).await;
    verify_only_partition_0_stops(&world, "communication-events/0 is stalled: the group has no offset").await;
    // The operator's decision.
    world.set_offset(COMMUNICATION_EVENTS, 0, 100, "").await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    stop_after_commit(&world, worker, 150).await;
    assert_eq!(judge(&world).await.unwrap().landed, 170);
    world.drop_namespace().await;
}

/// How the offset of partition 0 is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewind {
    /// A tool that does not write intents sets the offset.
    Plain,
    /// A backup of the group's offsets is restored: an offset with its intent at that time.
    Restored,
}

/// Rewinds partition 0 and continues with another batch size. If `is_outside`, ClickHouse has forgotten all tokens.
async fn judge_after_rewind(rewind: Rewind, is_outside: bool, faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let producer = world.producer("lz4");
    let worker = world.start(quick_settings()).await;
    world.produce_all(&producer, &november_records(0, 0..60)).await;
    world.wait_until_processed(60).await;
    worker.stop().await;
    let (offset, metadata) = world.offsets(COMMUNICATION_EVENTS).await[&0].clone();
    let worker = world.start(quick_settings()).await;
    world.produce_all(&producer, &november_records(0, 60..400)).await;
    world.wait_until_processed(400).await;
    worker.stop().await;
    let mut settings = static_member();
    if is_outside {
        world.shrink_window(16).await;
        world.write_foreign_rows(40).await;
        settings.peak_inserts_per_second = 1;
        settings.insert_timeout = std::time::Duration::from_secs(2);
    }
    let foreign = if is_outside { 40 } else { 0 };
    match rewind {
        Rewind::Plain => world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await,
        Rewind::Restored => world.set_offset(COMMUNICATION_EVENTS, 0, offset, &metadata).await,
    }
    world.produce_all(&producer, &november_records(0, 400..450)).await;
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    let url = worker.url.clone();
    eventually(DEADLINE, "the new records land", || async { world.count().await >= 450 + foreign }).await;
    let found_rows = metric(&url, "sluice_ingest_found_rows_total{", "communication-events").await;
    stop_after_commit(&world, worker, 450).await;
    let judged = judge_allowing(&world, Allowed { foreign, ..Allowed::default() }).await.map(|counts| {
        assert_eq!(counts.landed, 450);
        assert!(found_rows >= 340.0, "{rewind:?}: {found_rows} rows were found in the table");
    });
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewound_offset_duplicates_nothing() {
    for rewind in [Rewind::Plain, Rewind::Restored] {
        let (inside, outside) =
            tokio::join!(judge_after_rewind(rewind, false, ""), judge_after_rewind(rewind, true, ""));
        assert_eq!((inside, outside), (Ok(()), Ok(())), "{rewind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_detects_a_rewind_without_a_lookup() {
    let judged = judge_after_rewind(Rewind::Plain, true, "skip_lookup,trust_acknowledgements").await;
    assert!(judged.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{judged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_another_program_is_not_an_intent() {
    let world = world_with_landed_records(100).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 90, r#"{"by": "another program", "lag": 10}"#).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 100..130)).await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    stop_after_commit(&world, worker, 130).await;
    assert_eq!(judge(&world).await.unwrap().landed, 130);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_outside_the_log_stops_its_partition() {
    let above_the_log = async {
        let world = world_with_landed_records(100).await;
        world.set_offset(COMMUNICATION_EVENTS, 0, 150, "").await;
        verify_only_partition_0_stops(&world, "offset 150 is above the end of the log, 100").await;
        world.drop_namespace().await;
    };
    let below_the_log = async {
        let world = world_with_landed_records(100).await;
        world.produce_all(&world.producer("lz4"), &november_records(0, 100..200)).await;
        delete_records(&world, 0, 130).await;
        verify_only_partition_0_stops(&world, "offset 100 is below the start of the log, 130").await;
        world.drop_namespace().await;
    };
    tokio::join!(above_the_log, below_the_log);
}

async fn delete_records(world: &World, partition: i32, before: i64) {
    let mut list = TopicPartitionList::new();
    let topic = world.names.topic(COMMUNICATION_EVENTS);
    list.add_partition_offset(&topic, partition, Offset::Offset(before)).unwrap();
    world.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
}

/// Deletes records before a lagging worker has read them. Its client reports that once and stops fetching.
async fn judge_after_deletion(faults: &str) -> Result<(), String> {
    let world = world_with_landed_records(20).await;
    let mut settings = short_lived();
    // After a rebalance, the deletion would be noticed without the client's report.
    settings.kafka.clear();
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    let command = async |verb: &str| {
        let (code, output) = sluice(&world, &[verb, "--topic", COMMUNICATION_EVENTS, "--worker", &worker.url]).await;
        assert_eq!(code, 0, "{output}");
    };
    command("pause").await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 20..100)).await;
    delete_records(&world, 0, 60).await;
    command("resume").await;
    world.produce_all(&world.producer("lz4"), &november_records(1, 0..20)).await;
    world.wait_for_rows(40).await;
    eventually(DEADLINE, "the client reports the deletion", || async { worker.log().contains("AutoOffsetReset") })
        .await;
    let reason = "communication-events/0 is stalled: offset 20 comes next, but the log holds 60 to 100";
    let stopped = tokio::time::timeout(DEADLINE, wait_for_stall(&worker.url, reason));
    let judged = if faults.is_empty() {
        stopped.await.map_err(|error| error.to_string())
    } else {
        drop(tokio::time::timeout(DEADLINE / 4, stopped).await);
        Err(format!("{}", status(&worker.url, "readyz").await))
    };
    worker.stop().await;
    assert_eq!((world.count().await, world.offsets(COMMUNICATION_EVENTS).await[&0].0), (40, 20));
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_deleted_under_a_lagging_worker_stop_their_partition() {
    let (stopped, faulty) = tokio::join!(judge_after_deletion(""), judge_after_deletion("ignore_stalled_fetch"));
    assert_eq!(stopped, Ok(()));
    assert_eq!(
        faulty,
        Err("200".to_owned()),
        "without the check, the partition stops while the worker reports that it is ready"
    );
}

/// Deletes and recreates the topic.
async fn recreate(world: &World) {
    let topic = world.names.topic(COMMUNICATION_EVENTS);
    let deleted = world.admin().delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    world.apply().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_topic_is_a_different_topic() {
    let world = world_with_landed_records(100).await;
    recreate(&world).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 500..560)).await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    stop_after_commit(&world, worker, 60).await;
    let counts = judge_allowing(&world, Allowed { foreign: 100, ..Allowed::default() }).await.unwrap();
    assert_eq!(counts.landed, 60, "with the same offsets as in the earlier topic");
    world.drop_namespace().await;
}

/// The new topic has more records than the worker consumed of the earlier one, so its next offset exists in both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_recreated_under_a_running_worker_stops_it() {
    let world = World::new().await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    world.wait_until_processed(50).await;
    recreate(&world).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 500..700)).await;
    wait_for_stall(&worker.url, "communication-events/0 is stalled").await;
    worker.stop().await;
    assert_eq!(world.count().await, 50, "no record of the new topic was mistaken for one of the earlier topic");
    let worker = world.spawn_ready(&settings, &[]).await;
    stop_after_commit(&world, worker, 200).await;
    let counts = judge_allowing(&world, Allowed { foreign: 50, ..Allowed::default() }).await.unwrap();
    assert_eq!(counts.landed, 200);
    world.drop_namespace().await;
}

/// The topic is recreated while a worker's partitions are revoked, when the rows of a batch have landed and the offset after
/// them is not committed. Returns the committed offset afterwards.
async fn offset_after_recreation_during_revocation(faults: &str) -> Option<i64> {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("continue");
    let mut settings = short_lived();
    settings.kafka.insert("session.timeout.ms".to_owned(), "45000".to_owned());
    settings.kafka.insert("max.poll.interval.ms".to_owned(), "60000".to_owned());
    settings.insert_timeout = Duration::from_secs(2);
    settings.revoke_deadline = Duration::from_secs(30);
    let delay = format!("revoking:{}", file.display());
    let variables =
        [("SLUICE_STORES__CLICKHOUSE__URL", &*proxy.url), ("SLUICE_FAULTS", faults), ("SLUICE_DELAY", &delay)];
    let worker = world.spawn_ready(&settings, &variables).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    // Before that, a lookup of the first rows might be disrupted instead of the INSERT.
    wait_for_commit(&world, 50).await;
    proxy.set_mode(ProxyMode::Silent);
    world.produce_all(&world.producer("lz4"), &november_records(0, 50..100)).await;
    eventually(DEADLINE, "the INSERT is in flight", || async { proxy.disrupted_connections() > 0 }).await;
    settings.listen = short_lived().listen;
    let other_worker = world.spawn(&settings, &[]);
    let is_revoking = || async { worker.log().contains("partitions are being revoked") };
    eventually(DEADLINE, "the partitions are being revoked", is_revoking).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    world.wait_for_rows(100).await;
    recreate(&world).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 500..700)).await;
    assert!(!worker.log().contains("partitions revoked"), "the worker still holds its partitions");
    std::fs::write(&file, "").unwrap();
    let is_assigned = || async { other_worker.log().contains("partitions assigned") };
    eventually(DEADLINE, "the other worker has partitions", is_assigned).await;
    let committed = world.offsets(COMMUNICATION_EVENTS).await.get(&0).map(|(offset, _)| *offset);
    worker.kill().await;
    other_worker.kill().await;
    world.drop_namespace().await;
    committed.filter(|offset| *offset > 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_recreated_during_a_revocation_keeps_no_earlier_offset() {
    let (normal, faulty) = tokio::join!(
        offset_after_recreation_during_revocation(""),
        offset_after_recreation_during_revocation("ignore_topic_ids")
    );
    assert_eq!(normal, None);
    assert_eq!(faulty, Some(100), "without the check, the offset skips records of the new topic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_rows_are_restored_when_the_offset_is_set_back() {
    let world = World::new().await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..100)).await;
    let land_all = async || {
        let worker = world.start(quick_settings()).await;
        world.wait_until_processed(100).await;
        let committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await == 100 };
        eventually(DEADLINE, "everything is committed", committed).await;
        worker.stop().await;
    };
    land_all().await;
    let delete = "ALTER TABLE communication_events DELETE WHERE _partition = 0 SETTINGS mutations_sync = 2";
    world.execute(delete).await;
    assert_eq!(world.count().await, 0);
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let dropped = world.deduplicated_blocks("communication_events");
    land_all().await;
    assert!(
        world.deduplicated_blocks("communication_events") > dropped,
        "ClickHouse remembers the tokens of the deleted rows"
    );
    assert_eq!(judge(&world).await.unwrap().landed, 100);
    world.drop_namespace().await;
}
