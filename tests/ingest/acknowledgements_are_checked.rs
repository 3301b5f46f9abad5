//! What follows an acknowledgement or a look-up that may mislead: a repetition that is acknowledged though its rows are gone,
//! an INSERT that still runs while its rows are looked for, servers that take turns behind one address.

use std::time::Duration;

use reqwest::header::HeaderName;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{Answered, Requests, StandIn, eventually};
use uuid::Uuid;

use crate::harness::{DEADLINE, World, in_partition, metric, stands_still};
use crate::oracle::{identity, judge};
use crate::process::{Process, committed, same_member, short_lived};

/// Where a worker process finds ClickHouse.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
const SERVER: HeaderName = HeaderName::from_static("x-clickhouse-server-display-name");

async fn number(world: &World, query: &str) -> u64 {
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

async fn behind(world: &World, stand_in: &StandIn, faults: &str) -> Process {
    let mut settings = short_lived();
    settings.insert_timeout = Duration::from_secs(2);
    world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &stand_in.url)]).await
}

/// An INSERT lands, its answer is swallowed, and its rows are gone before it is sent again: ClickHouse remembers the token
/// and acknowledges what it drops.
async fn token_without_rows(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    let worker = behind(&world, &stand_in, faults).await;
    world.produce_all(&world.producer("lz4"), &in_partition(1, 0..10)).await;
    committed(&world, 10).await;
    stand_in.answer(Requests::Inserts, usize::MAX, Answered::Swallowed);
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    eventually(DEADLINE, "they land", || async { world.count().await == 60 }).await;
    let delete = "ALTER TABLE communication_events DELETE WHERE _partition = 0 SETTINGS mutations_sync = 2";
    world.execute(delete).await;
    stand_in.answer(Requests::Inserts, 0, Answered::Page);
    committed(&world, 60).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_repetition_whose_rows_are_gone_is_sent_again() {
    let (whole, lost) = tokio::join!(token_without_rows(""), token_without_rows("trust_acknowledgements"));
    assert_eq!(whole, Ok(()));
    assert!(lost.as_ref().is_err_and(|wrong| wrong.contains("50 records are missing")), "{lost:?}");
}

/// Rows that landed are taken out and written again by a slow INSERT, as one of an earlier owner whose worker is gone; the
/// offset is set back meanwhile, so the next owner looks for them.
async fn still_running(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let worker = world.spawn_ready(&short_lived(), &[]).await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    committed(&world, 50).await;
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
    let slow = "INSERT INTO communication_events SELECT * FROM aside WHERE NOT ignore(sleepEachRow(0.2)) \
                SETTINGS max_threads = 1, min_insert_block_size_rows = 1000000, \
                function_sleep_max_microseconds_per_block = 60000000";
    let earlier = tokio::spawn(reqwest::Client::new().post(url).query(&[("query_id", name)]).body(slow).send());
    let runs = "SELECT count() FROM system.processes WHERE startsWith(query_id, 'sluice:insert:') \
                AND current_database = currentDatabase()";
    eventually(DEADLINE, "the INSERT of an earlier owner runs", || async { number(&world, runs).await == 1 }).await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    let worker = world.spawn_ready(&same_member(), &[("SLUICE_FAULTS", faults)]).await;
    if faults.is_empty() {
        stands_still(&worker.url, "an INSERT of this partition that was sent earlier still runs").await;
    }
    assert!(earlier.await.unwrap().unwrap().status().is_success());
    committed(&world, 50).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_that_still_runs_is_waited_for_before_nothing_is_there() {
    let (whole, doubled) = tokio::join!(still_running(""), still_running("ignore_running_inserts"));
    assert_eq!(whole, Ok(()));
    assert!(doubled.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{doubled:?}");
}

/// A view takes longer than `insert_timeout`: ClickHouse itself ends the INSERT then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insert_is_ended_by_the_server_when_its_worker_gives_up() {
    let world = World::new().await;
    let mut settings = short_lived();
    settings.insert_timeout = Duration::from_secs(1);
    let worker = world.spawn_ready(&settings, &[]).await;
    world.execute("CREATE TABLE slow (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000").await;
    let view = "CREATE MATERIALIZED VIEW slow_mv TO slow AS SELECT sleepEachRow(0.05) AS n FROM communication_events";
    world.execute(view).await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    stands_still(&worker.url, "communication-events/0 stands still").await;
    let running = "SELECT count() FROM system.processes WHERE startsWith(query_id, 'sluice:insert:') AND elapsed > 2.5 \
                   AND current_database = currentDatabase()";
    assert_eq!(number(&world, running).await, 0, "none outlives its worker's patience");
    world.execute("DROP TABLE slow_mv").await;
    committed(&world, 50).await;
    worker.stop().await;
    world.drop().await;
}

/// Two servers that take turns, as the worker sees it; its offset is set back after its rows were deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_may_be_on_another_server_are_not_sent_again() {
    let world = World::new().await;
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    let worker = behind(&world, &stand_in, "").await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    committed(&world, 50).await;
    worker.stop().await;
    world.execute("ALTER TABLE communication_events DELETE WHERE true SETTINGS mutations_sync = 2").await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    stand_in.answer(Requests::About("_offset BETWEEN"), usize::MAX, Answered::Changed(SERVER, "another"));
    let worker = behind(&world, &stand_in, "").await;
    stands_still(&worker.url, "several servers respond at the address of ClickHouse").await;
    assert!(metric(&worker.url, "sluice_ingest_retries_total{", "operator").await >= 1.0);
    assert_eq!(world.count().await, 0, "nothing was sent under another token");
    stand_in.answer(Requests::Inserts, 0, Answered::Page);
    worker.kill().await;
    let worker = behind(&world, &stand_in, "").await;
    committed(&world, 50).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 50, "negative control: one server, and they come back");
    world.drop().await;
}

/// A view's target with a partition for each row, then one that takes no more parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_fails_is_named_with_whose_fault_it_is() {
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

    with_view(&format!("CREATE TABLE odd {target} PARTITION BY n SETTINGS {window}"), "arrayJoin(range(200)) AS n")
        .await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..20)).await;
    stands_still(&worker.url, "too many partitions for one INSERT").await;
    stands_still(&worker.url, &format!("while ClickHouse wrote to view {}.odd_mv", world.names.database())).await;
    assert!(retries("operator").await >= 1.0);
    assert!(retries("transient").await < 1.0, "it does not pass by itself");
    without_view().await;
    committed(&world, 20).await;

    let full =
        format!("CREATE TABLE odd {target} SETTINGS {window}, parts_to_delay_insert = 1, parts_to_throw_insert = 1");
    with_view(&full, "duration_ms AS n").await;
    world.execute("INSERT INTO odd VALUES (1)").await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 20..40)).await;
    let is_tried = || async { retries("transient").await >= 4.0 };
    eventually(DEADLINE, "too many parts pass by themselves, so it is tried again", is_tried).await;
    stands_still(&worker.url, &format!("while ClickHouse wrote to view {}.odd_mv", world.names.database())).await;
    without_view().await;
    committed(&world, 40).await;
    worker.stop().await;
    assert_eq!(judge(&world).await.unwrap().landed, 40);
    world.drop().await;
}
