//! A batch that grows while another of its partition is being written: it lands as one block, and whatever becomes of its
//! worker costs nothing. Each test makes sure that a batch has grown; the controls switch growth off, or break the token and
//! the intent.

use std::time::Duration;

use nix::sys::signal::Signal;
use sluice_ingest::config::Settings;
use sluice_ingest::exactly_once::intent::Intent;
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{Gate, Manner, eventually};

use crate::harness::{DEADLINE, Record, World, in_partition, metric, page};
use crate::oracle::{Counts, judge};
use crate::process::{Process, same_member};

const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
/// `max_rows` of these tests.
const USUAL: usize = 20;
/// Records that come first and teach the worker its pace, and all of them.
const FIRST: u32 = 20;
const ALL: u32 = 200;
/// How long a write takes while others wait for it: much longer than the rest needs to come.
const LATE: Manner = Manner::Late(Duration::from_secs(3));

fn growing() -> Settings {
    let mut settings = same_member();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (USUAL, 1000);
    }
    settings
}

/// The same with growth switched off.
fn usual() -> Settings {
    let mut settings = growing();
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.backlog_rows, pipeline.backlog_bytes) = (pipeline.max_rows, pipeline.max_bytes);
    }
    settings
}

/// Records of one partition and one month, some of which cannot be decoded.
fn records() -> Vec<Record> {
    let mut records = in_partition(0, 0..ALL);
    for n in [37, 137] {
        records[n].payload = Some(format!("poison {n}").into_bytes());
    }
    records
}

async fn grown(url: &str) -> f64 {
    metric(url, "sluice_ingest_batches_total{", "cut=\"backlog\"").await
}

/// A worker that is writing one batch slowly, with the records behind it already sent.
async fn backlog(world: &World, gate: &Gate, settings: &Settings, variables: &[(&str, &str)]) -> Process {
    let url = [(CLICKHOUSE, gate.url.as_str())];
    let variables: Vec<_> = url.iter().chain(variables).copied().collect();
    let worker = world.spawn_ready(settings, &variables).await;
    let (producer, records) = (world.producer("lz4"), records());
    world.produce_all(&producer, &records[..FIRST as usize]).await;
    let is_committed = || async { world.committed(COMMUNICATION_EVENTS).await == i64::from(FIRST) };
    eventually(DEADLINE * 2, "the first batch is committed", is_committed).await;
    gate.behave(LATE);
    world.produce_all(&producer, &records[FIRST as usize..]).await;
    worker
}

/// Whether the intent beside the committed offset holds a batch of more than the usual size.
async fn has_announced_a_grown_one(world: &World) -> bool {
    let offsets = world.offsets(COMMUNICATION_EVENTS).await;
    let intents = offsets.values().filter_map(|(_, metadata)| Intent::parse(metadata));
    intents
        .flat_map(|intent| intent.ranges)
        .any(|what| what.range.last - what.range.first >= i64::try_from(USUAL).unwrap())
}

async fn finish(world: &World, settings: &Settings, variables: &[(&str, &str)]) -> Result<Counts, String> {
    let worker = world.spawn_ready(settings, variables).await;
    world.settled(ALL as usize).await;
    let is_committed = || async { world.committed(COMMUNICATION_EVENTS).await == i64::from(ALL) };
    eventually(DEADLINE * 2, "all is committed", is_committed).await;
    worker.stop().await;
    judge(world).await
}

fn all_there(judged: Result<Counts, String>, what: &str) {
    let counts = judged.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (ALL as usize, 2), "{what}");
}

/// Rows of the largest part as it was inserted, by what the table says of its rows.
async fn largest_insert(world: &World) -> u64 {
    let query = "SELECT max(n) FROM (SELECT count() AS n FROM communication_events GROUP BY _ingested_at)";
    connect::clickhouse(&world.stores, &world.names).query(query).fetch_one().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_write_lands_as_one_block() {
    let land = |settings: Settings| async move {
        let world = World::new().await;
        let gate = Gate::open(&world.stores.clickhouse.url).await;
        let worker = backlog(&world, &gate, &settings, &[]).await;
        eventually(DEADLINE * 2, "more are sealed", || async {
            metric(&worker.url, "sluice_ingest_batches_total{", COMMUNICATION_EVENTS).await > 2.0
        })
        .await;
        gate.behave(Manner::Late(Duration::ZERO));
        world.settled(ALL as usize).await;
        let (grown, largest) = (grown(&worker.url).await, largest_insert(&world).await);
        worker.stop().await;
        all_there(judge(&world).await, "landed");
        world.drop().await;
        (grown, largest)
    };
    let ((grown, largest), (off, usual)) = tokio::join!(land(growing()), land(usual()));
    assert!(grown >= 1.0 && largest > USUAL as u64, "{grown} have grown, up to {largest} rows");
    assert!(off == 0.0 && usual <= USUAL as u64, "negative control: {off} have grown, up to {usual} rows");
}

/// Killed with a grown batch on its way; whoever takes it over makes smaller ones, and is killed as well.
async fn killed_at(point: &str) {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let worker = backlog(&world, &gate, &growing(), &[("SLUICE_FAILPOINT", point)]).await;
    worker.aborted().await;
    let is_announced = !point.starts_with("sealed") && !point.starts_with("committing");
    assert_eq!(has_announced_a_grown_one(&world).await, is_announced, "{point}");
    world.spawn(&usual(), &[("SLUICE_FAILPOINT", "landed:1")]).aborted().await;
    all_there(finish(&world, &usual(), &[]).await, point);
    world.drop().await;
}

/// The third batch is the one that has grown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_with_a_grown_batch_costs_nothing() {
    let points = ["sealed:3", "announced:3", "insert:3", "landed:3", "dead_letter:2", "dead_lettered:2"];
    for points in points.chunks(3) {
        futures::future::join_all(points.iter().map(|point| killed_at(point))).await;
    }
}

/// Killed between the INSERT of a grown batch and its commit, and taken over without the growth.
async fn taken_over_with(faults: &str) -> Result<Counts, String> {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let variables = [("SLUICE_FAILPOINT", "landed:3"), ("SLUICE_FAULTS", faults)];
    backlog(&world, &gate, &growing(), &variables).await.aborted().await;
    let judged = finish(&world, &usual(), &[("SLUICE_FAULTS", faults)]).await;
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_notices_a_grown_batch_without_token_or_intent() {
    let (right, token, intent) = tokio::join!(
        taken_over_with(""),
        taken_over_with("random_token,trust_acknowledgements"),
        taken_over_with("ignore_intent,trust_acknowledgements")
    );
    all_there(right, "no fault");
    for (judged, what) in [(token, "random_token,trust_acknowledgements"), (intent, "ignore_intent")] {
        assert!(judged.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{what}: {judged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_row_of_a_grown_batch_costs_that_row_alone() {
    let world = World::new().await;
    // One of the hundred and eighty records that come later.
    let refused = "ALTER TABLE communication_events ADD CONSTRAINT some CHECK duration_ms != 320";
    world.execute(refused).await;
    assert!(in_partition(0, 0..ALL).iter().any(|record| {
        let payload = record.payload.as_deref().unwrap_or_default();
        String::from_utf8_lossy(payload).contains("\"duration_ms\":320,")
    }));
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let worker = backlog(&world, &gate, &growing(), &[("SLUICE_FAILPOINT", "refused:1")]).await;
    eventually(DEADLINE * 2, "one is sealed behind", || async {
        gate.behave(LATE);
        let sealed = metric(&worker.url, "sluice_ingest_batches_total{", COMMUNICATION_EVENTS).await > 2.0;
        sealed || grown(&worker.url).await > 0.0
    })
    .await;
    assert!(grown(&worker.url).await > 0.0, "it has grown");
    gate.behave(Manner::Late(Duration::ZERO));
    worker.aborted().await;
    let counts = finish(&world, &growing(), &[]).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (ALL as usize - 3, 3));
    world.drop().await;
}

/// Offsets rewound: what lies below the end of the log is looked up, in batches that grow behind slow answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_with_grown_batches_doubles_nothing() {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let mut settings = growing();
    // One that leaves its group at once.
    settings.kafka.remove("group.instance.id");
    let first = backlog(&world, &gate, &settings, &[]).await;
    gate.behave(Manner::Late(Duration::ZERO));
    world.settled(ALL as usize).await;
    first.stop().await;
    world.set_offset(COMMUNICATION_EVENTS, 0, 0, "").await;
    gate.behave(Manner::Late(Duration::from_millis(100)));
    let second = world.spawn_ready(&settings, &[(CLICKHOUSE, &gate.url)]).await;
    let is_committed = || async { world.committed(COMMUNICATION_EVENTS).await == i64::from(ALL) };
    eventually(DEADLINE * 2, "all is committed", is_committed).await;
    let looked_up = metric(&second.url, "sluice_ingest_replayed_rows_total{", COMMUNICATION_EVENTS).await;
    assert!(grown(&second.url).await > 0.0 && (looked_up - f64::from(ALL - 2)).abs() < 0.5, "{looked_up} looked up");
    second.stop().await;
    all_there(judge(&world).await, "rewound");
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lands_and_commits_what_has_grown() {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let worker = backlog(&world, &gate, &growing(), &[]).await;
    // One batch of the usual size is being written, and everything else is in the one behind it.
    eventually(DEADLINE * 2, "all is taken in", || async {
        let status = page(&worker.url, "status").await;
        let all = status.contains(&format!("\"position\":{ALL},")) && status.contains("\"ranges\":1,");
        if all { Ok(()) } else { Err(status) }
    })
    .await;
    let said = worker.stop().await;
    assert!(said.contains(&format!("consumed {ALL}, landed {}, dead-lettered 2", ALL - 2)), "{said}");
    assert_eq!(world.committed(COMMUNICATION_EVENTS).await, i64::from(ALL));
    assert!(largest_insert(&world).await > USUAL as u64);
    all_there(judge(&world).await, "drained");
    world.drop().await;
}

/// A worker that stands still with a grown batch behind its write, past its session: another takes all of it over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_sleeps_on_a_grown_batch_is_fenced() {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let mut settings = growing();
    settings.kafka.remove("group.instance.id");
    let sleeper = backlog(&world, &gate, &settings, &[]).await;
    eventually(DEADLINE * 2, "a grown one is announced", || has_announced_a_grown_one(&world)).await;
    sleeper.signal(Signal::SIGSTOP);
    let mut others = usual();
    others.kafka.remove("group.instance.id");
    let other = world.spawn_ready(&others, &[]).await;
    world.settled(ALL as usize).await;
    gate.behave(Manner::Late(Duration::ZERO));
    sleeper.signal(Signal::SIGCONT);
    eventually(DEADLINE * 2, "it has noticed", || async { sleeper.said().contains("\"is_lost\":true") }).await;
    sleeper.stop().await;
    other.stop().await;
    all_there(judge(&world).await, "slept");
    world.drop().await;
}
