//! ClickHouse has forgotten the tokens: other writers have pushed them out of the window before a worker that died came
//! back. It looks before it writes: what is there is left alone and its aggregates are made anew, what is not there is
//! sent, and where only some of it is there it stops and says so.

use std::time::Duration;

use sluice_ingest::config::Settings;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::eventually;

use crate::harness::{self, DEADLINE, Record, World, event_record, in_partition, metric, stands_still};
use crate::oracle::{Besides, judge_besides};
use crate::process::same_member;

/// Tokens that the tables remember: what a start with [`settings`] asks for, and not one more.
const WINDOW: u64 = 16;
/// How long a worker with [`settings`] trusts such a window, and a little.
const FORGOTTEN: Duration = Duration::from_secs(9);
/// INSERTs of others, more than the window holds.
const OTHERS: usize = 40;

fn settings() -> Settings {
    let mut settings = same_member();
    settings.peak_inserts_per_second = 1;
    settings.insert_timeout = Duration::from_secs(2);
    assert_eq!(settings.tokens_needed(), WINDOW);
    settings
}

async fn narrow() -> World {
    let world = World::new().await;
    world.remember_only(WINDOW).await;
    world
}

/// Others write and time passes, until no token is known any more and the worker knows that.
async fn forgotten(world: &World) {
    tokio::join!(world.others_write(OTHERS as u32), tokio::time::sleep(FORGOTTEN));
}

/// Records of one partition over three months: 50 of them are a batch of three parts.
fn records() -> Vec<Record> {
    (0..100).map(|n| Record { partition: Some(0), ..event_record(n) }).collect()
}

async fn committed(world: &World, offset: i64) {
    eventually(DEADLINE * 2, "all is committed", || async { world.committed(COMMUNICATION_EVENTS).await == offset })
        .await;
}

async fn judged(world: World) -> Result<usize, String> {
    let counts = judge_besides(&world, Besides { others: OTHERS, ..Besides::default() }).await;
    world.drop().await;
    counts.map(|counts| counts.landed)
}

/// A worker dies after so many INSERTs, before it has committed the range, and comes back too late for its tokens.
/// Perhaps its clock was wrong, and it announced the range at a time that is still to come.
async fn came_back_late(point: &str, faults: &str, is_ahead: bool) -> Result<usize, String> {
    let world = narrow().await;
    world.produce_all(&world.producer("lz4"), &records()).await;
    let settings = settings();
    world.spawn(&settings, &[("SLUICE_FAILPOINT", point)]).aborted().await;
    let rows = world.count().await as f64;
    assert!(rows > 0.0, "{point}: some of it had landed");
    forgotten(&world).await;
    if is_ahead {
        announced_in_an_hour(&world).await;
    }
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    committed(&world, 100).await;
    if faults.is_empty() {
        let metric = |name| metric(&worker.url, name, "");
        assert!(metric("sluice_ingest_lookups_total{").await > 0.0, "{point}");
        let found = metric("sluice_ingest_replayed_rows_total{").await;
        assert!(found > 0.0 && found <= rows, "{point}: {found} rows found, {rows} were there");
        assert!(metric("sluice_ingest_rebuilds_total{").await > 0.0, "{point}");
    }
    worker.stop().await;
    judged(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_found_and_what_is_not_is_sent() {
    let (whole, part, blind) = tokio::join!(
        came_back_late("landed:3", "", false), // the whole of the first range
        came_back_late("landed:2", "", false), // two of its three months
        came_back_late("landed:3", "skip_lookup,ignore_views,trust_acknowledgements", false),
    );
    assert_eq!((whole, part), (Ok(100), Ok(100)));
    assert!(blind.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "without the look-up: {blind:?}");
}

/// Gives the intent a time in the future.
async fn announced_in_an_hour(world: &World) {
    let (offset, intent) = world.offsets(COMMUNICATION_EVENTS).await[&0].clone();
    let mut words: Vec<_> = intent.split(' ').map(str::to_owned).collect();
    words[2] = (words[2].parse::<u64>().unwrap() + 3600).to_string();
    world.set_offset(COMMUNICATION_EVENTS, 0, offset, &words.join(" ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_from_the_future_is_an_old_one() {
    let (looked, believed) = tokio::join!(
        came_back_late("landed:3", "", true),
        came_back_late("landed:3", "trust_future_announcements,trust_acknowledgements", true)
    );
    assert_eq!(looked, Ok(100));
    assert!(believed.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "taken for fresh: {believed:?}");
}

const VIEW: &str = "CREATE MATERIALIZED VIEW campaign_performance_mv TO campaign_performance AS SELECT tenant_id, \
                    campaign_id, channel, toStartOfHour(timestamp) AS hour, count() AS total_events, \
                    countIf(success) AS successful_events, avgState(duration_ms) AS avg_duration, \
                    quantileTDigestState(0.95)(duration_ms) AS p95_duration FROM communication_events";
const GROUPS: &str = "GROUP BY tenant_id, campaign_id, channel, hour";

/// The table takes a range and its view throws; the worker dies, the view is mended, and the token is gone by then.
async fn view_fell_behind(faults: &str) -> Result<usize, String> {
    let world = narrow().await;
    world.execute("DROP TABLE campaign_performance_mv").await;
    world.execute(&format!("{VIEW} WHERE NOT throwIf(duration_ms = 21, 'no') {GROUPS}")).await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    let settings = settings();
    let worker = world.spawn(&settings, &[]);
    stands_still(&worker.url, "repair the view").await;
    worker.kill().await;
    assert_eq!(world.count().await, 50, "the table has taken them");
    forgotten(&world).await;
    world.execute("DROP TABLE campaign_performance_mv").await;
    world.execute(&format!("{VIEW} {GROUPS}")).await;
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults)]).await;
    committed(&world, 50).await;
    worker.stop().await;
    judged(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_that_fell_behind_are_made_anew() {
    let (mended, short) = tokio::join!(view_fell_behind(""), view_fell_behind("skip_rebuild"));
    assert_eq!(mended, Ok(50));
    assert!(short.as_ref().is_err_and(|wrong| wrong.contains("aggregates differ")), "without a rebuild: {short:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_is_partly_there_stops_its_partition() {
    let world = narrow().await;
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..100)).await;
    let settings = settings();
    world.spawn(&settings, &[("SLUICE_FAILPOINT", "landed:1")]).aborted().await;
    let rows = world.count().await;
    world.execute("ALTER TABLE communication_events DELETE WHERE _offset = 7 SETTINGS mutations_sync = 2").await;
    assert_eq!(world.count().await, rows - 1);
    forgotten(&world).await;
    world.produce_all(&world.producer("lz4"), &in_partition(1, 0..20)).await;
    let worker = world.spawn(&settings, &[]);
    stands_still(&worker.url, "the table holds some or holds one twice").await;
    world.landed(rows - 1 + OTHERS + 20).await;
    assert!(worker.stop().await.contains("an operator has to decide"));
    let offsets = world.offsets(COMMUNICATION_EVENTS).await;
    assert_eq!((offsets[&0].0, offsets[&1].0), (0, 20), "the other partition goes on");
    assert_eq!(world.count().await, rows - 1 + OTHERS + 20);
    // The operator puts back what is missing; a worker then finds the range whole.
    let neighbour = format!(
        "SELECT * FROM communication_events WHERE _topic != '{}' AND _partition = 0 AND _offset = 6",
        harness::OTHERS
    );
    world
        .execute(&format!("INSERT INTO communication_events SELECT * REPLACE (7 AS _offset) FROM ({neighbour})"))
        .await;
    let worker = world.spawn_ready(&settings, &[]).await;
    eventually(DEADLINE, "it goes on", || async { world.offsets(COMMUNICATION_EVENTS).await[&0].0 == 100 }).await;
    worker.stop().await;
    assert_eq!(world.count().await, 120 + OTHERS);
    world.drop().await;
}
