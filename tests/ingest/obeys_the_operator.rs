//! Decisions that only an operator makes: a partition is paused and resumed; the group's offsets are shown at any time, but set
//! and accepted only while no worker is running; a month of aggregates is rebuilt.

use std::process::Stdio;

use futures::future::join_all;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::eventually;
use tokio::process::Command;

use crate::harness::{DEADLINE, Worker, World, november_records, quick_settings};
use crate::oracle::{AGGREGATES, judge};
use crate::process::short_lived;

/// Runs `sluice ingest` with these arguments; returns the exit code and both outputs.
pub(crate) async fn sluice(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["--namespace", world.names.namespace(), "--port-base", &world.port_base().to_string(), "ingest"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let printed = [output.stderr, output.stdout].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap().trim().to_owned())
}

async fn sluice_for_worker(world: &World, worker: &Worker, arguments: &[&str]) -> (i32, String) {
    sluice(world, &[arguments, &["--worker", &worker.url]].concat()).await
}

/// The line of a partition in the output of `status`.
async fn status_line(world: &World, worker: &Worker, partition: i32) -> String {
    let (_, printed) = sluice_for_worker(world, worker, &["status", "--topic", COMMUNICATION_EVENTS]).await;
    let is_partition = |line: &&str| line.split_whitespace().nth(1) == Some(&partition.to_string());
    printed.lines().find(is_partition).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_pauses_and_resumes() {
    let world = World::new().await;
    let worker = world.start(quick_settings()).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(2, 0..10)).await;
    world.wait_for_rows(10).await;
    let (code, printed) =
        sluice_for_worker(&world, &worker, &["pause", "--topic", COMMUNICATION_EVENTS, "--partition", "2"]).await;
    assert!(code == 0 && printed.contains("communication-events 2 paused"), "{printed}");
    let (_, again) =
        sluice_for_worker(&world, &worker, &["pause", "--topic", COMMUNICATION_EVENTS, "--partition", "2"]).await;
    assert!(again.contains("nothing to do"), "{again}");
    assert!(status_line(&world, &worker, 2).await.contains("paused by an operator"));
    assert!(status_line(&world, &worker, 1).await.contains("consuming"));
    assert_eq!(worker.status("readyz").await, 200, "a paused partition does not make the worker unready");
    world.produce_all(&producer, &november_records(2, 10..20)).await;
    world.produce_all(&producer, &november_records(1, 0..10)).await;
    world.wait_for_rows(20).await;
    eventually(DEADLINE, "consumed records are committed", || async {
        status_line(&world, &worker, 2).await.split_whitespace().nth(2) == Some("10")
    })
    .await;
    assert_eq!(world.count().await, 20, "the other partition continues, and this one does not");
    let (code, printed) = sluice_for_worker(&world, &worker, &["resume"]).await;
    assert!(code == 0 && printed == "communication-events 2 resumed", "{printed}");
    world.wait_for_rows(30).await;
    let (code, printed) = sluice_for_worker(&world, &worker, &["breaker", "reset"]).await;
    assert!(code == 0 && printed.contains("nothing to do"), "{printed}");
    let unknown_partition = ["pause", "--topic", COMMUNICATION_EVENTS, "--partition", "77"];
    let (code, printed) = sluice_for_worker(&world, &worker, &unknown_partition).await;
    assert!(code == 4 && printed.contains("these workers do not own it"), "{code}: {printed}");
    let (code, printed) = sluice_for_worker(&world, &worker, &["pause", "--topic", "unknown-topic"]).await;
    assert!(code == 4 && printed.contains("no pipeline of this worker consumes it"), "{printed}");
    let url = worker.url.clone();
    worker.stop().await;
    let (code, printed) = sluice(&world, &["status", "--worker", &url]).await;
    assert!(code == 3 && printed.contains("it does not respond; start it"), "{printed}");
    for verb in [&["pause"][..], &["resume"], &["breaker", "reset"]] {
        let (code, printed) = sluice(&world, &[verb, &["--worker", &url]].concat()).await;
        assert!(code == 3 && printed.contains("it does not respond; start it"), "{printed}");
        assert!(!printed.contains("nothing to do"), "the worker's state is unknown: {printed}");
    }
    assert_eq!(judge(&world).await.unwrap().landed, 30);
    world.drop_namespace().await;
}

/// A world whose partition 0 has 60 landed records and 40 unread ones; no worker is running.
async fn half_consumed_world() -> World {
    let world = World::new().await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..60)).await;
    let worker = world.start(quick_settings()).await;
    eventually(DEADLINE, "60 are committed", || async { world.committed_sum(COMMUNICATION_EVENTS).await == 60 }).await;
    let (code, printed) = sluice(&world, &["offsets", "set", COMMUNICATION_EVENTS, "0", "start"]).await;
    assert!(code == 1 && printed.contains("it has running workers"), "{printed}");
    worker.stop().await;
    world.produce_all(&producer, &november_records(0, 60..100)).await;
    world
}

/// Runs a worker until the remaining records are committed.
async fn consume_rest(world: &World) {
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    eventually(DEADLINE * 2, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == 100
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_an_offset_back_duplicates_nothing() {
    let world = half_consumed_world().await;
    let (code, printed) = sluice(&world, &["offsets", "show", "--topic", COMMUNICATION_EVENTS]).await;
    let first = printed.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(
        (code, first.as_str()),
        (0, "communication-events 0 60 0 to 100 40 0 59 nothing announced"),
        "{printed}"
    );
    let (code, printed) = sluice(&world, &["offsets", "set", COMMUNICATION_EVENTS, "0", "20"]).await;
    assert_eq!((code, printed.as_str()), (0, "communication-events 0: the group's offset is 20, and was 60"));
    let (_, printed) = sluice(&world, &["offsets", "show", "--topic", COMMUNICATION_EVENTS]).await;
    assert!(printed.contains("none: looked up before writing"), "{printed}");
    consume_rest(&world).await;
    assert_eq!(judge(&world).await.unwrap().landed, 100);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_skipped_only_on_confirmation() {
    let world = half_consumed_world().await;
    let (code, printed) = sluice(&world, &["offsets", "set", COMMUNICATION_EVENTS, "0", "101"]).await;
    assert!(code == 4 && printed.contains("the log holds 0 to 100"), "{printed}");
    let (code, printed) = sluice(&world, &["offsets", "set", COMMUNICATION_EVENTS, "0", "70"]).await;
    assert!(
        code == 4 && printed.contains("offsets 60 to 69 will be skipped") && printed.contains("add --yes"),
        "{printed}"
    );
    assert_eq!(world.offsets(COMMUNICATION_EVENTS).await[&0].0, 60, "nothing was changed");
    let (code, printed) = sluice(&world, &["offsets", "set", COMMUNICATION_EVENTS, "0", "70", "--yes"]).await;
    assert_eq!(code, 0, "{printed}");
    consume_rest(&world).await;
    let (code, printed) = sluice(&world, &["audit"]).await;
    assert!(
        code == 1
            && printed.contains(
                "communication-events 0: 10 consumed but neither inserted nor dead-lettered, at offsets 60 to 69"
            ),
        "{printed}"
    );
    for (topic, partition, message) in [
        ("unknown-topic", "0", "ingest.pipelines has none of that name"),
        (COMMUNICATION_EVENTS, "17", "it has 6, numbered from 0"),
    ] {
        let (code, printed) = sluice(&world, &["offsets", "set", topic, partition, "0"]).await;
        assert!(code == 4 && printed.contains(message), "{printed}");
    }
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_group_resumes_from_what_the_table_holds() {
    let world = half_consumed_world().await;
    let group = world.names.group("clickhouse-ingest");
    let deleted = world.admin().delete_groups(&[&group], &rdkafka::admin::AdminOptions::new()).await.unwrap();
    deleted[0].as_ref().unwrap();
    let accept = ["offsets", "accept", COMMUNICATION_EVENTS, "0"];
    let (code, printed) = sluice(&world, &accept).await;
    assert!(code == 4 && printed.contains("60 records have a row and 0 a dead letter"), "{printed}");
    assert_eq!(world.offsets(COMMUNICATION_EVENTS).await.len(), 0, "nothing was changed");
    let (code, printed) = sluice(&world, &[&accept[..], &["--yes"]].concat()).await;
    assert!(code == 0 && printed.contains("the group's offset is 60, and was -"), "{printed}");
    let (code, printed) = sluice(&world, &["offsets", "accept", COMMUNICATION_EVENTS, "5", "--yes"]).await;
    assert!(code == 4 && printed.contains("name an offset with --at"), "{printed}");
    consume_rest(&world).await;
    assert_eq!(judge(&world).await.unwrap().landed, 100);
    assert_eq!(sluice(&world, &["audit"]).await.0, 0);
    world.drop_namespace().await;
}

/// Number of rows that differ between the aggregates and their recomputation.
async fn differing_aggregates(world: &World) -> u64 {
    connect::clickhouse(&world.stores, &world.names).query(AGGREGATES).fetch_one::<u64>().await.unwrap()
}

async fn sluice_rebuild(world: &World, month: &str) -> (i32, String) {
    sluice(world, &["rebuild", "communication_events", month]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_of_aggregates_is_rebuilt() {
    let world = half_consumed_world().await;
    world.execute("ALTER TABLE campaign_performance DELETE WHERE 1 SETTINGS mutations_sync = 2").await;
    assert!(differing_aggregates(&world).await > 0, "the aggregates are deleted");
    let (code, printed) = sluice(&world, &["rebuild", "communication_events", "2026-11"]).await;
    assert_eq!((code, printed.as_str()), (0, "rebuilt month 202611 of the aggregate table of communication_events"));
    assert_eq!(differing_aggregates(&world).await, 0);
    for (table, month, exit, why) in [
        ("communication_event", "202611", 4, "there is no such table"),
        ("communication_events", "0", 4, "it is partitioned; name a month"),
        ("communication_events", "2031-01", 3, "holds no rows of month 203101, so its aggregates stay as they are"),
    ] {
        let (code, printed) = sluice(&world, &["rebuild", table, month]).await;
        assert!(code == exit && printed.contains(why), "{code}: {printed}");
    }

    // A view that selects none of the month's rows has an empty aggregate.
    world.execute("CREATE TABLE seldom (hour DateTime, n UInt64) ENGINE = MergeTree PARTITION BY toYYYYMM(hour) ORDER BY hour").await;
    world.execute(
        "CREATE MATERIALIZED VIEW seldom_mv TO seldom AS SELECT toDateTime(toStartOfHour(timestamp)) AS hour, count() AS n \
         FROM communication_events WHERE duration_ms > 4000000000 GROUP BY hour",
    )
    .await;
    world.execute("INSERT INTO seldom VALUES ('2026-11-15 08:00:00', 1)").await;
    let (code, printed) = sluice(&world, &["rebuild", "communication_events", "2026-11"]).await;
    assert_eq!((code, printed.as_str()), (0, "rebuilt month 202611 of the 2 aggregate tables of communication_events"));
    let seldom_rows =
        connect::clickhouse(&world.stores, &world.names).query("SELECT count() FROM seldom").fetch_one::<u64>();
    assert_eq!(seldom_rows.await.unwrap(), 0);
    assert_eq!(differing_aggregates(&world).await, 0);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebuilds_run_one_at_a_time_and_refuse_other_partition_keys() {
    let world = half_consumed_world().await;
    world.execute("ALTER TABLE campaign_performance DELETE WHERE 1 SETTINGS mutations_sync = 2").await;
    // A killed rebuild: once no other test is rebuilding, its lock is removed and its table dropped. Then several rebuilds run at
    // once.
    world.execute("CREATE TABLE communication_events__rebuild (at DateTime DEFAULT now()) ENGINE = Memory").await;
    world.execute("CREATE TABLE campaign_performance__rebuild_dead AS campaign_performance").await;
    let is_done = || async { sluice_rebuild(&world, "2026-11").await.0 == 0 };
    eventually(DEADLINE * 2, "the stale lock is removed", is_done).await;
    for _ in 0..3 {
        let months = ["2026-11"; 3].map(|month| sluice_rebuild(&world, month));
        for (code, printed) in join_all(months).await {
            assert_eq!(code, 0, "{printed}");
        }
        assert_eq!(differing_aggregates(&world).await, 0);
    }

    world
        .execute("CREATE TABLE yearly (day Date, n UInt64) ENGINE = MergeTree PARTITION BY toYear(day) ORDER BY day")
        .await;
    world
        .execute(
            "CREATE MATERIALIZED VIEW yearly_mv TO yearly AS SELECT toDate(timestamp) AS day, count() AS n \
             FROM communication_events GROUP BY day",
        )
        .await;
    let rebuild_tables =
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%__rebuild%'";
    assert_eq!(
        connect::clickhouse(&world.stores, &world.names).query(rebuild_tables).fetch_one::<u64>().await.unwrap(),
        0
    );
    let (code, printed) = sluice_rebuild(&world, "2026-11").await;
    assert!(code == 3 && printed.contains("yearly_mv writes its rows to other partitions of"), "{printed}");
    assert_eq!(differing_aggregates(&world).await, 0);
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_in_a_missing_namespace_names_the_remedy() {
    let world = World::new().await;
    let arguments =
        ["--port-base", &world.port_base().to_string(), "ingest", "rebuild", "communication_events", "202611"];
    let rebuild = async |namespace: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        let output =
            command.args(["--namespace", namespace]).args(arguments).stdin(Stdio::null()).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let missing = world.names.namespace().replacen("ingest", "absent", 1);
    let (code, printed) = rebuild(&missing).await;
    let remedy = format!("there is no database sluice_{missing}: name the namespace");
    assert!(
        code == Some(3) && printed.contains(&remedy) && printed.contains("`sluice schemas apply`"),
        "{code:?}: {printed}"
    );
    let (_, printed) = rebuild(world.names.namespace()).await;
    assert!(printed.contains("holds no rows of month 202611") && !printed.contains("no database"), "{printed}");
    world.drop_namespace().await;
}
