//! A batch that grows while another of its partition is being written lands as one block, and no fault of its worker loses
//! or duplicates a record. Each test verifies that a batch has grown; the negative controls disable growth, the token
//! or the intent.

use std::time::Duration;

use nix::sys::signal::Signal;
use sluice_ingest::config::Settings;
use sluice_ingest::exactly_once::intent::Intent;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{ProxyMode, TcpProxy, eventually};

use crate::harness::{DEADLINE, Record, World, metric, november_records, page};
use crate::oracle::{Counts, judge};
use crate::process::{Process, static_member};

const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
/// `max_rows` of these tests.
const MAX_ROWS: usize = 20;
/// Number of records that are sent first, so that the worker can measure its write rate.
const FIRST: u32 = 20;
/// Number of all records.
const ALL: u32 = 200;
/// Delay of a write while records wait for it: much longer than the other records take to arrive.
const SLOW: ProxyMode = ProxyMode::Delayed(Duration::from_secs(3));

fn growing() -> Settings {
    let mut settings = static_member();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (MAX_ROWS, 1000);
    }
    settings
}

/// Like [`growing`], with growth disabled.
fn not_growing() -> Settings {
    let mut settings = growing();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.backlog_rows, pipeline.backlog_bytes) = (pipeline.max_rows, pipeline.max_bytes);
    }
    settings
}

/// Records of one partition and one month, two of which cannot be decoded.
fn records() -> Vec<Record> {
    let mut records = november_records(0, 0..ALL);
    for n in [37, 137] {
        records[n].payload = Some(format!("poison {n}").into_bytes());
    }
    records
}

async fn grown_batches(url: &str) -> f64 {
    metric(url, "sluice_ingest_batches_total{", "reason=\"backlog\"").await
}

/// Starts a worker that is writing one batch slowly, with the records behind it already produced.
async fn start_with_backlog(
    world: &World,
    proxy: &TcpProxy,
    settings: &Settings,
    variables: &[(&str, &str)],
) -> Process {
    let url = [(CLICKHOUSE, proxy.url.as_str())];
    let variables: Vec<_> = url.iter().chain(variables).copied().collect();
    let worker = world.spawn_ready(settings, &variables).await;
    let (producer, records) = (world.producer("lz4"), records());
    world.produce_all(&producer, &records[..FIRST as usize]).await;
    let is_committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await == i64::from(FIRST) };
    eventually(DEADLINE * 2, "the first batch is committed", is_committed).await;
    proxy.set_mode(SLOW);
    world.produce_all(&producer, &records[FIRST as usize..]).await;
    worker
}

/// Whether the intent stored with the committed offset holds a batch of more than [`MAX_ROWS`].
async fn has_announced_a_grown_batch(world: &World) -> bool {
    let offsets = world.offsets(COMMUNICATION_EVENTS).await;
    let intents = offsets.values().filter_map(|(_, metadata)| Intent::parse(metadata));
    intents
        .flat_map(|intent| intent.ranges)
        .any(|announced| announced.range.last - announced.range.first >= i64::try_from(MAX_ROWS).unwrap())
}

async fn process_and_judge(world: &World, settings: &Settings, variables: &[(&str, &str)]) -> Result<Counts, String> {
    let worker = world.spawn_ready(settings, variables).await;
    world.wait_until_processed(ALL as usize).await;
    let is_committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await == i64::from(ALL) };
    eventually(DEADLINE * 2, "everything is committed", is_committed).await;
    worker.stop().await;
    judge(world).await
}

fn assert_complete(judged: Result<Counts, String>, context: &str) {
    let counts = judged.unwrap_or_else(|wrong| panic!("{context}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (ALL as usize, 2), "{context}");
}

/// Rows of the largest INSERT: rows of one INSERT have the same `_ingested_at`.
async fn largest_insert(world: &World) -> u64 {
    let query = "SELECT max(n) FROM (SELECT count() AS n FROM communication_events GROUP BY _ingested_at)";
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_waiting_behind_a_write_land_as_one_block() {
    let land_backlog = |settings: Settings| async move {
        let world = World::new().await;
        let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
        let worker = start_with_backlog(&world, &proxy, &settings, &[]).await;
        eventually(DEADLINE * 2, "more batches are sealed", || async {
            metric(&worker.url, "sluice_ingest_batches_total{", COMMUNICATION_EVENTS).await > 2.0
        })
        .await;
        proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
        world.wait_until_processed(ALL as usize).await;
        let (grown_batches, largest) = (grown_batches(&worker.url).await, largest_insert(&world).await);
        worker.stop().await;
        assert_complete(judge(&world).await, "landed");
        world.drop_namespace().await;
        (grown_batches, largest)
    };
    let ((grown_batches, largest), (not_grown, small)) =
        tokio::join!(land_backlog(growing()), land_backlog(not_growing()));
    assert!(grown_batches >= 1.0 && largest > MAX_ROWS as u64, "{grown_batches} batches grew, up to {largest} rows");
    assert!(
        not_grown == 0.0 && small <= MAX_ROWS as u64,
        "negative control: {not_grown} batches grew, up to {small} rows"
    );
}

/// Kills a worker with a grown batch in flight. The worker that takes over does not grow batches, and is killed too.
async fn kill_at(point: &str) {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let worker = start_with_backlog(&world, &proxy, &growing(), &[("SLUICE_FAILPOINT", point)]).await;
    worker.wait_for_abort().await;
    let is_announced = !point.starts_with("sealed") && !point.starts_with("committing");
    assert_eq!(has_announced_a_grown_batch(&world).await, is_announced, "{point}");
    world.spawn(&not_growing(), &[("SLUICE_FAILPOINT", "landed:1")]).wait_for_abort().await;
    assert_complete(process_and_judge(&world, &not_growing(), &[]).await, point);
    world.drop_namespace().await;
}

/// The third batch is the one that grew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_with_a_grown_batch_loses_nothing() {
    let points = ["sealed:3", "announced:3", "insert:3", "landed:3", "dead_letter:2", "dead_lettered:2"];
    for points in points.chunks(3) {
        futures::future::join_all(points.iter().map(|point| kill_at(point))).await;
    }
}

/// Kills a worker between the INSERT of a grown batch and its commit; the next worker does not grow batches.
async fn judge_takeover_with(faults: &str) -> Result<Counts, String> {
    let world = World::new().await;
    world.wait_until_tables_are_old().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let variables = [("SLUICE_FAILPOINT", "landed:3"), ("SLUICE_FAULTS", faults)];
    start_with_backlog(&world, &proxy, &growing(), &variables).await.wait_for_abort().await;
    let judged = process_and_judge(&world, &not_growing(), &[("SLUICE_FAULTS", faults)]).await;
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_detects_a_grown_batch_without_token_or_intent() {
    let (normal, token, intent) = tokio::join!(
        judge_takeover_with(""),
        judge_takeover_with("random_token,trust_acknowledgements"),
        judge_takeover_with("ignore_intent,trust_acknowledgements")
    );
    assert_complete(normal, "no fault");
    for (judged, faults) in [(token, "random_token,trust_acknowledgements"), (intent, "ignore_intent")] {
        assert!(judged.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faults}: {judged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_of_a_grown_batch_does_not_affect_the_others() {
    let world = World::new().await;
    // One of the 180 records that are sent later.
    let refused = "ALTER TABLE communication_events ADD CONSTRAINT refuse_some CHECK duration_ms != 320";
    world.execute(refused).await;
    assert!(november_records(0, 0..ALL).iter().any(|record| {
        let payload = record.payload.as_deref().unwrap_or_default();
        String::from_utf8_lossy(payload).contains("\"duration_ms\":320,")
    }));
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let worker = start_with_backlog(&world, &proxy, &growing(), &[("SLUICE_FAILPOINT", "refused:1")]).await;
    eventually(DEADLINE * 2, "a batch is sealed behind the write", || async {
        proxy.set_mode(SLOW);
        let sealed = metric(&worker.url, "sluice_ingest_batches_total{", COMMUNICATION_EVENTS).await > 2.0;
        sealed || grown_batches(&worker.url).await > 0.0
    })
    .await;
    assert!(grown_batches(&worker.url).await > 0.0, "the batch has grown");
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    worker.wait_for_abort().await;
    let counts = process_and_judge(&world, &growing(), &[]).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (ALL as usize - 3, 3));
    world.drop_namespace().await;
}

/// After a rewind, everything below the end of the log is looked up, in batches that grow behind slow responses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_with_grown_batches_duplicates_nothing() {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut settings = growing();
    // A dynamic member leaves its group at once.
    settings.kafka.remove("group.instance.id");
    let first_worker = start_with_backlog(&world, &proxy, &settings, &[]).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    world.wait_until_processed(ALL as usize).await;
    first_worker.stop().await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    proxy.set_mode(ProxyMode::Delayed(Duration::from_millis(100)));
    let second_worker = world.spawn_ready(&settings, &[(CLICKHOUSE, &proxy.url)]).await;
    let is_committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await == i64::from(ALL) };
    eventually(DEADLINE * 2, "everything is committed", is_committed).await;
    let looked_up = metric(&second_worker.url, "sluice_ingest_found_rows_total{", COMMUNICATION_EVENTS).await;
    assert!(
        grown_batches(&second_worker.url).await > 0.0 && (looked_up - f64::from(ALL - 2)).abs() < 0.5,
        "{looked_up} looked up"
    );
    second_worker.stop().await;
    assert_complete(judge(&world).await, "rewound");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lands_and_commits_a_grown_batch() {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let worker = start_with_backlog(&world, &proxy, &growing(), &[]).await;
    // One batch of MAX_ROWS is being written, and everything else is in the one behind it.
    eventually(DEADLINE * 2, "everything is consumed", || async {
        let status = page(&worker.url, "status").await;
        let is_consumed = status.contains(&format!("\"position\":{ALL},")) && status.contains("\"ranges\":1,");
        if is_consumed { Ok(()) } else { Err(status) }
    })
    .await;
    let output = worker.stop().await;
    assert!(output.contains(&format!("consumed {ALL}, landed {}, dead-lettered 2", ALL - 2)), "{output}");
    assert_eq!(world.committed_sum(COMMUNICATION_EVENTS).await, i64::from(ALL));
    assert!(largest_insert(&world).await > MAX_ROWS as u64);
    assert_complete(judge(&world).await, "drained");
    world.drop_namespace().await;
}

/// A worker is suspended past its session with a grown batch behind its write; another takes everything over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_suspended_with_a_grown_batch_is_fenced() {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut settings = growing();
    settings.kafka.remove("group.instance.id");
    let suspended = start_with_backlog(&world, &proxy, &settings, &[]).await;
    eventually(DEADLINE * 2, "a grown batch is announced", || has_announced_a_grown_batch(&world)).await;
    suspended.signal(Signal::SIGSTOP);
    let mut settings = not_growing();
    settings.kafka.remove("group.instance.id");
    let other_worker = world.spawn_ready(&settings, &[]).await;
    world.wait_until_processed(ALL as usize).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    suspended.signal(Signal::SIGCONT);
    eventually(DEADLINE * 2, "the worker has detected the loss", || async {
        suspended.log().contains("\"is_lost\":true")
    })
    .await;
    suspended.stop().await;
    other_worker.stop().await;
    assert_complete(judge(&world).await, "suspended");
    world.drop_namespace().await;
}
