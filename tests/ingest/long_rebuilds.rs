//! A rebuild may take longer than an INSERT: it has a separate timeout, blocks only INSERTs into its own table, and leaves no
//! statement running on the server when it is abandoned.

use std::time::Duration;

use rdkafka::producer::FutureRecord;
use sluice_ingest::config::Settings;
use sluice_schemas::connect;
use sluice_schemas::names::topic::{AGENT_METRICS, COMMUNICATION_EVENTS};
use sluice_testkit::{eventually, free_address};

use crate::harness::{DEADLINE, TENANT, World, november_records, page, wait_for_stall};
use crate::oracle::{Allowed, judge_allowing};
use crate::process::static_member;

const WINDOW: u64 = 16;
const FOREIGN_ROWS: u32 = 40;
/// Time after which a worker with [`settings`] no longer trusts a token.
const FORGOTTEN: Duration = Duration::from_secs(9);
/// Selects the running statement of a rebuild that fills the slow view's new table. The other fills end at once.
const FILLS: &str = "FROM system.processes WHERE query_kind = 'Insert' AND position(query, 'counted__rebuild_') > 0 \
                     AND position(query, currentDatabase()) > 0";

fn settings() -> Settings {
    let mut settings = static_member();
    settings.peak_inserts_per_second = 1;
    settings.insert_timeout = Duration::from_secs(2);
    assert_eq!(settings.tokens_needed(), WINDOW);
    settings
}

async fn query_count(world: &World, query: &str) -> u64 {
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

/// A world with an additional view that takes a tenth of a second for each row of `wait`.
async fn world_with_slow_view() -> World {
    let world = World::new().await;
    let sleep = "SELECT sum(sleepEachRow(0.1)) AS slept FROM wait SETTINGS function_sleep_max_microseconds_per_block = 600000000";
    for statement in [
        "CREATE TABLE wait (n UInt64) ENGINE = MergeTree ORDER BY n".to_owned(),
        "CREATE TABLE counted (hour DateTime('UTC'), n UInt64) ENGINE = SummingMergeTree PARTITION BY toYYYYMM(hour) ORDER BY hour \
         SETTINGS non_replicated_deduplication_window = 16"
            .to_owned(),
        format!(
            "CREATE MATERIALIZED VIEW counted_mv TO counted AS SELECT toDateTime(toStartOfHour(timestamp), 'UTC') AS hour, \
             count() AS n FROM communication_events CROSS JOIN ({sleep}) AS w GROUP BY hour"
        ),
    ] {
        world.execute(&statement).await;
    }
    world
}

/// A world in which a worker died after its INSERT and the token is forgotten, so the next worker must rebuild through the slow
/// view.
async fn world_with_due_rebuild() -> World {
    let world = world_with_slow_view().await;
    world.shrink_window(WINDOW).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    world.spawn(&settings(), &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    world.write_foreign_rows(FOREIGN_ROWS).await;
    world
}

/// Whether records of another topic land during a rebuild that takes longer than an INSERT may.
async fn lands_during_rebuild(faults: &str) -> bool {
    let world = world_with_due_rebuild().await;
    world.execute("INSERT INTO wait SELECT number FROM numbers(1200)").await;
    tokio::time::sleep(FORGOTTEN).await;
    let worker = world.spawn(&settings(), &[("SLUICE_FAULTS", faults)]);
    let long_fills = format!("SELECT count() {FILLS} AND elapsed > 3");
    eventually(DEADLINE, "the rebuild takes longer than an INSERT", || async {
        query_count(&world, &long_fills).await > 0
    })
    .await;
    let metric = format!(
        "{{\"tenant_id\":\"{TENANT}\",\"agent_id\":\"a\",\"agent_type\":\"bot\",\"metric_name\":\"m\",\"metric_value\":1.5,\"timestamp\":\"2026-11-24T08:33:26.123Z\"}}"
    );
    let topic = world.names.topic(AGENT_METRICS);
    let record = FutureRecord::<[u8], [u8]>::to(&topic).payload(metric.as_bytes());
    world.producer("lz4").send(record, DEADLINE).await.unwrap();
    let landed = "SELECT count() FROM agent_metrics";
    let longer_fills = format!("SELECT count() {FILLS} AND elapsed > 10");
    let is_blocked = || async { !faults.is_empty() && query_count(&world, &longer_fills).await > 0 };
    let is_over = || async { query_count(&world, landed).await > 0 || is_blocked().await };
    eventually(DEADLINE, "the record lands, or only the rebuild continues", is_over).await;
    let (has_landed, running) =
        (query_count(&world, landed).await > 0, query_count(&world, &format!("SELECT count() {FILLS}")).await);
    assert!(running > 0, "the rebuild still runs");
    world.execute("TRUNCATE TABLE wait").await;
    world.execute(&format!("KILL QUERY WHERE query_id IN (SELECT query_id {FILLS}) SYNC")).await;
    eventually(DEADLINE * 2, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == 50
    })
    .await;
    worker.stop().await;
    let counts =
        judge_allowing(&world, Allowed { foreign: FOREIGN_ROWS as usize, ..Allowed::default() }).await.unwrap();
    assert_eq!(counts.landed, 50);
    world.drop_namespace().await;
    has_landed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_rebuild_blocks_only_its_own_table() {
    let (per_table, shared) = tokio::join!(lands_during_rebuild(""), lands_during_rebuild("share_rebuild_gate"));
    assert!(per_table, "with a gate for each table, records of other tables land");
    assert!(!shared, "negative control: with one gate for all tables, they do not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_times_out_is_reported_and_completes_with_a_longer_timeout() {
    let world = world_with_due_rebuild().await;
    world.execute("INSERT INTO wait SELECT number FROM numbers(60)").await;
    tokio::time::sleep(FORGOTTEN).await;
    let short = Settings { rebuild_timeout: Duration::from_secs(2), ..settings() };
    let worker = world.spawn(&short, &[]);
    wait_for_stall(&worker.url, "raise ingest.rebuild_timeout").await;
    assert!(page(&worker.url, "readyz").await.contains("counted_mv takes longer than 2 s"));
    worker.kill().await;
    let worker = world.spawn_ready(&settings(), &[]).await;
    eventually(DEADLINE * 2, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == 50
    })
    .await;
    worker.stop().await;
    let rows = query_count(&world, "SELECT count() FROM communication_events").await;
    assert_eq!(query_count(&world, "SELECT sum(n) FROM counted").await, rows);
    world.drop_namespace().await;
}

/// Revokes the partition of a worker during a rebuild; returns whether its statement is still running afterwards.
async fn runs_after_revocation(faults: &str) -> bool {
    let world = world_with_due_rebuild().await;
    world.execute("INSERT INTO wait SELECT number FROM numbers(1200)").await;
    tokio::time::sleep(FORGOTTEN).await;
    let mut settings = settings();
    settings.kafka.remove("group.instance.id");
    settings.revoke_deadline = Duration::from_secs(1);
    let first = world.spawn(&settings, &[("SLUICE_FAULTS", faults)]);
    let running_fill = || async {
        // The others end at once.
        let query = format!("SELECT min(query_id) {FILLS} AND elapsed > 3");
        connect::clickhouse(&world.stores, &world.names).query(&query).fetch_one::<String>().await.unwrap()
    };
    eventually(DEADLINE * 2, "the rebuild runs", || async { !running_fill().await.is_empty() }).await;
    let id = running_fill().await;
    let running = format!("SELECT count() FROM system.processes WHERE query_id = '{id}'");
    settings.listen = free_address();
    let second = world.spawn(&settings, &[]);
    eventually(DEADLINE * 2, "the partition moves", || async { first.log().contains("partitions revoked") }).await;
    let runs_after_revocation = if faults == "leave_statements_running" {
        eventually(DEADLINE, "the other worker is ready or waiting", || async {
            second.log().contains("partitions assigned")
        })
        .await;
        query_count(&world, &running).await > 0
    } else {
        eventually(DEADLINE, "the statement ends", || async { query_count(&world, &running).await == 0 }).await;
        false
    };
    world.execute("TRUNCATE TABLE wait").await;
    world.execute(&format!("KILL QUERY WHERE query_id IN (SELECT query_id {FILLS}) SYNC")).await;
    eventually(DEADLINE * 3, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == 50
    })
    .await;
    tokio::join!(first.stop(), second.stop());
    let counts =
        judge_allowing(&world, Allowed { foreign: FOREIGN_ROWS as usize, ..Allowed::default() }).await.unwrap();
    assert_eq!(counts.landed, 50);
    world.drop_namespace().await;
    runs_after_revocation
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_rebuild_is_cancelled_at_the_server() {
    let (normal, faulty) = tokio::join!(runs_after_revocation(""), runs_after_revocation("leave_statements_running"));
    assert!(!normal);
    assert!(faulty, "negative control: the statement keeps running");
}
