//! Other writers have pushed a dead worker's tokens out of the deduplication window before it restarts. It looks up rows before
//! it writes: landed parts are skipped and their aggregates rebuilt, missing parts are sent, and if a part has landed only
//! partly, the partition stops and the worker reports it.

use std::time::Duration;

use sluice_ingest::config::Settings;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::eventually;

use crate::harness::{self, DEADLINE, Record, World, event_record, metric, november_records, wait_for_stall};
use crate::oracle::{Allowed, judge_allowing};
use crate::process::static_member;

/// Deduplication window of the tables: exactly what [`settings`] requires at startup.
const WINDOW: u64 = 16;
/// Time after which a worker with [`settings`] no longer trusts that window.
const FORGOTTEN: Duration = Duration::from_secs(9);
/// Number of INSERTs of another writer, more than the window holds.
const FOREIGN_ROWS: usize = 40;

fn settings() -> Settings {
    let mut settings = static_member();
    settings.peak_inserts_per_second = 1;
    settings.insert_timeout = Duration::from_secs(2);
    assert_eq!(settings.tokens_needed(), WINDOW);
    settings
}

async fn world_with_small_window() -> World {
    let world = World::new().await;
    world.shrink_window(WINDOW).await;
    world
}

/// Inserts as another writer and waits, until every token is forgotten and the worker assumes so.
async fn forget_tokens(world: &World) {
    tokio::join!(world.write_foreign_rows(FOREIGN_ROWS as u32), tokio::time::sleep(FORGOTTEN));
}

/// Records of one partition over three months; 50 of them form a batch of three parts.
fn records() -> Vec<Record> {
    (0..100).map(|n| Record { partition: Some(0), ..event_record(n) }).collect()
}

async fn wait_for_commit(world: &World, offset: i64) {
    eventually(DEADLINE * 2, "everything is committed", || async {
        world.committed_sum(COMMUNICATION_EVENTS).await == offset
    })
    .await;
}

async fn judge_and_drop(world: World) -> Result<usize, String> {
    let counts = judge_allowing(&world, Allowed { foreign: FOREIGN_ROWS, ..Allowed::default() }).await;
    world.drop_namespace().await;
    counts.map(|counts| counts.landed)
}

/// Kills a worker at this point, before it has committed the range, and restarts it after its tokens are forgotten. If
/// `is_clock_ahead`, its clock was wrong and it announced the range at a future time.
async fn judge_restart_after_window(point: &str, faults: &str, is_clock_ahead: bool) -> Result<usize, String> {
    let world = world_with_small_window().await;
    world.produce_all(&world.producer("lz4"), &records()).await;
    let settings = settings();
    world.spawn(&settings, &[("SLUICE_FAILPOINT", point)]).wait_for_abort().await;
    let rows = world.count().await as f64;
    assert!(rows > 0.0, "{point}: some parts had landed");
    forget_tokens(&world).await;
    if is_clock_ahead {
        move_announcement_into_future(&world).await;
    }
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    wait_for_commit(&world, 100).await;
    if faults.is_empty() {
        let metric = |name| metric(&worker.url, name, "");
        assert!(metric("sluice_ingest_lookups_total{").await > 0.0, "{point}");
        let found_rows = metric("sluice_ingest_found_rows_total{").await;
        assert!(found_rows > 0.0 && found_rows <= rows, "{point}: {found_rows} rows found, {rows} had landed");
        assert!(metric("sluice_ingest_rebuilds_total{").await > 0.0, "{point}");
    }
    worker.stop().await;
    judge_and_drop(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn landed_rows_are_found_and_missing_rows_are_sent() {
    let (whole, partial, faulty) = tokio::join!(
        judge_restart_after_window("landed:3", "", false), // the first range landed completely
        judge_restart_after_window("landed:2", "", false), // two of its three months landed
        judge_restart_after_window("landed:3", "skip_lookup,ignore_views,trust_acknowledgements", false),
    );
    assert_eq!((whole, partial), (Ok(100), Ok(100)));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "without the lookup: {faulty:?}");
}

/// Moves the intent's time an hour into the future.
async fn move_announcement_into_future(world: &World) {
    let (offset, intent) = world.offsets(COMMUNICATION_EVENTS).await[&0].clone();
    let mut words: Vec<_> = intent.split(' ').map(str::to_owned).collect();
    words[2] = (words[2].parse::<u64>().unwrap() + 3600).to_string();
    world.set_offset(COMMUNICATION_EVENTS, 0, offset, &words.join(" ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_dated_in_the_future_counts_as_old() {
    let (normal, faulty) = tokio::join!(
        judge_restart_after_window("landed:3", "", true),
        judge_restart_after_window("landed:3", "trust_future_announcements,trust_acknowledgements", true)
    );
    assert_eq!(normal, Ok(100));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "if it counts as recent: {faulty:?}");
}

const VIEW: &str = "CREATE MATERIALIZED VIEW campaign_performance_mv TO campaign_performance AS SELECT tenant_id, \
                    campaign_id, channel, toStartOfHour(timestamp) AS hour, count() AS total_events, \
                    countIf(success) AS successful_events, avgState(duration_ms) AS avg_duration, \
                    quantileTDigestState(0.95)(duration_ms) AS p95_duration FROM communication_events";
const GROUPS: &str = "GROUP BY tenant_id, campaign_id, channel, hour";

/// A range lands in the table while its view fails; the worker dies, the view is repaired, and the token is forgotten.
async fn judge_repair_after_window(faults: &str) -> Result<usize, String> {
    let world = world_with_small_window().await;
    world.execute("DROP TABLE campaign_performance_mv").await;
    world.execute(&format!("{VIEW} WHERE NOT throwIf(duration_ms = 21, 'no') {GROUPS}")).await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    let settings = settings();
    let worker = world.spawn(&settings, &[]);
    wait_for_stall(&worker.url, "repair the view").await;
    worker.kill().await;
    assert_eq!(world.count().await, 50, "the rows are in the table");
    forget_tokens(&world).await;
    world.execute("DROP TABLE campaign_performance_mv").await;
    world.execute(&format!("{VIEW} {GROUPS}")).await;
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    wait_for_commit(&world, 50).await;
    worker.stop().await;
    judge_and_drop(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incomplete_aggregates_are_rebuilt() {
    let (normal, faulty) = tokio::join!(judge_repair_after_window(""), judge_repair_after_window("skip_rebuild"));
    assert_eq!(normal, Ok(50));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("aggregates differ")), "without a rebuild: {faulty:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partly_landed_range_stops_its_partition() {
    let world = world_with_small_window().await;
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..100)).await;
    let settings = settings();
    world.spawn(&settings, &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    let rows = world.count().await;
    world.execute("ALTER TABLE communication_events DELETE WHERE _offset = 7 SETTINGS mutations_sync = 2").await;
    assert_eq!(world.count().await, rows - 1);
    forget_tokens(&world).await;
    world.produce_all(&world.producer("lz4"), &november_records(1, 0..20)).await;
    let worker = world.spawn(&settings, &[]);
    wait_for_stall(&worker.url, "the table holds only some or holds one twice").await;
    world.wait_for_rows(rows - 1 + FOREIGN_ROWS + 20).await;
    assert!(worker.stop().await.contains("an operator has to decide"));
    let offsets = world.offsets(COMMUNICATION_EVENTS).await;
    assert_eq!((offsets[&0].0, offsets[&1].0), (0, 20), "the other partition continues");
    assert_eq!(world.count().await, rows - 1 + FOREIGN_ROWS + 20);
    // The operator restores the missing row; a worker then finds the range complete.
    let neighbor = format!(
        "SELECT * FROM communication_events WHERE _topic != '{}' AND _partition = 0 AND _offset = 6",
        harness::FOREIGN_TOPIC
    );
    world.execute(&format!("INSERT INTO communication_events SELECT * REPLACE (7 AS _offset) FROM ({neighbor})")).await;
    let worker = world.spawn_ready(&settings, &[]).await;
    eventually(DEADLINE, "the partition continues", || async {
        world.offsets(COMMUNICATION_EVENTS).await[&0].0 == 100
    })
    .await;
    worker.stop().await;
    assert_eq!(world.count().await, 120 + FOREIGN_ROWS);
    world.drop_namespace().await;
}
