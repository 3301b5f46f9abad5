//! Misleading acknowledgements and lookups are detected: a retry that is acknowledged after its rows were deleted, an INSERT that
//! is still running while its rows are looked up, several servers behind one address.

use std::time::Duration;

use reqwest::header::HeaderName;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{InterceptingProxy, Interception, Requests, eventually};
use uuid::Uuid;

use crate::harness::{DEADLINE, World, metric, november_records, wait_for_stall};
use crate::oracle::{identity, judge};
use crate::process::{Process, short_lived, static_member, wait_for_commit};

/// Variable with ClickHouse's URL for a worker process.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
const SERVER: HeaderName = HeaderName::from_static("x-clickhouse-server-display-name");

async fn query_count(world: &World, query: &str) -> u64 {
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

async fn start_behind_proxy(world: &World, proxy: &InterceptingProxy, faults: &str) -> Process {
    let mut settings = short_lived();
    settings.insert_timeout = Duration::from_secs(2);
    world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &proxy.url)]).await
}

/// An INSERT lands, its response is lost, and its rows are deleted before the retry: ClickHouse remembers the token, drops
/// the rows and acknowledges the retry.
async fn judge_retry_after_deletion(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    let worker = start_behind_proxy(&world, &proxy, faults).await;
    world.wait_until_tables_are_old().await;
    world.produce_all(&world.producer("lz4"), &november_records(1, 0..10)).await;
    wait_for_commit(&world, 10).await;
    proxy.intercept_next(usize::MAX, Requests::Inserts, Interception::WithholdResponse);
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    eventually(DEADLINE, "the rows land", || async { world.count().await == 60 }).await;
    let delete = "ALTER TABLE communication_events DELETE WHERE _partition = 0 SETTINGS mutations_sync = 2";
    world.execute(delete).await;
    proxy.forward_all();
    wait_for_commit(&world, 60).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_deleted_before_an_acknowledged_retry_are_sent_again() {
    let (normal, faulty) =
        tokio::join!(judge_retry_after_deletion(""), judge_retry_after_deletion("trust_acknowledgements"));
    assert_eq!(normal, Ok(()));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("50 records are missing")), "{faulty:?}");
}

/// Landed rows are deleted and written again by a slow INSERT that simulates one of an earlier owner. While it runs, the offset
/// is set back, so the next owner looks up the rows.
async fn judge_lookup_during_insert(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let worker = world.spawn_ready(&short_lived(), &[]).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    for statement in [
        "CREATE TABLE aside AS communication_events",
        "INSERT INTO aside SELECT * FROM communication_events",
        "ALTER TABLE communication_events DELETE WHERE true SETTINGS mutations_sync = 2",
        "TRUNCATE TABLE campaign_performance",
    ] {
        world.execute(statement).await;
    }
    let (_, topic_id) = identity(&world).await;
    let database = world.names.database();
    let name = format!("sluice:insert:{database}.communication_events:{topic_id}:0:0-49:202611:{}", Uuid::new_v4());
    let url = format!("{}/?database={database}&max_block_size=5", world.stores.clickhouse.url);
    let slow = "INSERT INTO communication_events SELECT * FROM aside WHERE NOT ignore(sleepEachRow(0.5)) \
                SETTINGS max_threads = 1, min_insert_block_size_rows = 1000000, \
                function_sleep_max_microseconds_per_block = 60000000";
    let earlier_insert = tokio::spawn(reqwest::Client::new().post(url).query(&[("query_id", name)]).body(slow).send());
    let running = "SELECT count() FROM system.processes WHERE startsWith(query_id, 'sluice:insert:') \
                AND current_database = currentDatabase()";
    eventually(DEADLINE, "the earlier owner's INSERT runs", || async { query_count(&world, running).await == 1 }).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let worker = world.spawn_ready(&static_member(), &[("SLUICE_FAULTS", faults)]).await;
    if faults.is_empty() {
        wait_for_stall(&worker.url, "an INSERT of this partition that was sent earlier still runs").await;
    }
    assert!(earlier_insert.await.unwrap().unwrap().status().is_success());
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_waits_for_an_insert_that_is_still_running() {
    let (normal, faulty) =
        tokio::join!(judge_lookup_during_insert(""), judge_lookup_during_insert("ignore_running_inserts"));
    assert_eq!(normal, Ok(()));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faulty:?}");
}

/// A view takes longer than `insert_timeout`, so ClickHouse itself cancels the INSERT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_cancels_an_insert_when_its_worker_times_out() {
    let world = World::new().await;
    let mut settings = short_lived();
    settings.insert_timeout = Duration::from_secs(1);
    let worker = world.spawn_ready(&settings, &[]).await;
    world.execute("CREATE TABLE slow (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000").await;
    let view = "CREATE MATERIALIZED VIEW slow_mv TO slow AS SELECT sleepEachRow(0.05) AS n FROM communication_events";
    world.execute(view).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    wait_for_stall(&worker.url, "communication-events/0 is stalled").await;
    let running = "SELECT count() FROM system.processes WHERE startsWith(query_id, 'sluice:insert:') AND elapsed > 2.5 \
                   AND current_database = currentDatabase()";
    assert_eq!(query_count(&world, running).await, 0, "no INSERT outlives its worker's timeout");
    world.execute("DROP TABLE slow_mv").await;
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    world.drop_namespace().await;
}

/// The worker sees two servers behind one address; its offset is set back after its rows were deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_may_be_on_another_server_are_not_sent_again() {
    let world = World::new().await;
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    let worker = start_behind_proxy(&world, &proxy, "").await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    world.execute("ALTER TABLE communication_events DELETE WHERE true SETTINGS mutations_sync = 2").await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    proxy.intercept(Interception::ReplaceHeader(SERVER, "another"), "_offset BETWEEN");
    let worker = start_behind_proxy(&world, &proxy, "").await;
    wait_for_stall(&worker.url, "several servers respond at the address of ClickHouse").await;
    assert!(metric(&worker.url, "sluice_ingest_retries_total{", "operator").await >= 1.0);
    assert_eq!(world.count().await, 0, "nothing was sent with a new token");
    proxy.forward_all();
    worker.kill().await;
    let worker = start_behind_proxy(&world, &proxy, "").await;
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 50, "negative control: with one server, the rows are restored");
    world.drop_namespace().await;
}

/// The view's target first has a partition for each row, and then accepts no more parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_view_is_named_and_its_error_classified() {
    let world = World::new().await;
    let worker = world.spawn_ready(&short_lived(), &[]).await;
    let target = "(n UInt32) ENGINE = MergeTree ORDER BY n";
    let window = "non_replicated_deduplication_window = 10000";
    let with_view = async |target: &str, select: &str| {
        world.execute(target).await;
        world
            .execute(&format!("CREATE MATERIALIZED VIEW odd_mv TO odd AS SELECT {select} FROM communication_events"))
            .await;
    };
    let without_view = async || {
        world.execute("DROP TABLE odd_mv").await;
        world.execute("DROP TABLE odd").await;
    };
    let retries = async |class: &str| metric(&worker.url, "sluice_ingest_retries_total{", class).await;
    let view = format!("while ClickHouse wrote to view {}.odd_mv", world.names.database());

    with_view(&format!("CREATE TABLE odd {target} PARTITION BY n SETTINGS {window}"), "arrayJoin(range(200)) AS n")
        .await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..20)).await;
    // A later attempt may fail for another reason: the view is newer than the announcement.
    let is_named = || async {
        let log = worker.log();
        log.contains("too many partitions for one INSERT") && log.contains(&view)
    };
    eventually(DEADLINE, "the view and its error are named", is_named).await;
    let operator =
        |line: &str| line.contains("too many partitions for one INSERT") && line.contains("until an operator");
    assert!(worker.log().lines().any(operator), "it is not classified as transient: {}", worker.log());
    without_view().await;
    wait_for_commit(&world, 20).await;

    let full =
        format!("CREATE TABLE odd {target} SETTINGS {window}, parts_to_delay_insert = 1, parts_to_throw_insert = 1");
    with_view(&full, "duration_ms AS n").await;
    world.execute("INSERT INTO odd VALUES (1)").await;
    let before = retries("transient").await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 20..40)).await;
    let is_retried = || async { retries("transient").await >= before + 4.0 };
    eventually(DEADLINE, "too many parts are transient, so the INSERT is retried", is_retried).await;
    wait_for_stall(&worker.url, &view).await;
    without_view().await;
    wait_for_commit(&world, 40).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 40);
    world.drop_namespace().await;
}
