//! Workers join, leave, die and are suspended while records flow: every record lands once, and no committed offset ever moves
//! back, even if a worker loses a partition while a commit of it is in flight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_ingest::config::{Protocol, Settings};
use sluice_schemas::connect;
use sluice_schemas::names::topic::COMMUNICATION_EVENTS;
use sluice_testkit::{ProxyMode, TcpProxy, eventually};
use tokio::task::JoinHandle;

use crate::harness::{DEADLINE, World, event_record, metric, november_records, status};
use crate::oracle::{Allowed, judge, judge_allowing};
use crate::process::{short_lived, wait_for_commit};

const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
const PARTITIONS: i32 = 6;

/// Watches the committed offsets continuously.
struct Watch {
    stop: Arc<AtomicBool>,
    steps: JoinHandle<Vec<String>>,
}

impl Watch {
    fn start(world: &World) -> Self {
        let mut config = connect::kafka_config(&world.stores);
        config.set("group.id", world.names.group(&Settings::default().group));
        let (topic, stop) = (world.names.topic(COMMUNICATION_EVENTS), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        #[expect(clippy::disallowed_methods, reason = "this is the polling interval of the watch")]
        let watch = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let (mut highest, mut steps_back) = (BTreeMap::new(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let mut list = TopicPartitionList::new();
                list.add_partition_range(&topic, 0, PARTITIONS - 1);
                // A coordinator that has just started does not respond yet.
                let Ok(offsets) = consumer.committed_offsets(list, DEADLINE) else { continue };
                for element in offsets.elements() {
                    let Offset::Offset(offset) = element.offset() else { continue };
                    let before = highest.insert(element.partition(), offset).unwrap_or(0);
                    if offset < before {
                        steps_back.push(format!("partition {} from {before} to {offset}", element.partition()));
                    }
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            steps_back
        };
        Self { stop, steps: tokio::task::spawn_blocking(watch) }
    }

    /// Stops watching; returns every backward step of an offset.
    async fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.steps).await.unwrap()
    }
}

/// A failing test must not wait for the watch forever.
impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Produces records until stopped.
struct Flow {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Flow {
    fn start(world: &Arc<World>) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (world, stopped, total) = (Arc::clone(world), Arc::clone(&stop), Arc::clone(&count));
        let task = tokio::spawn(async move {
            let producer = world.producer("lz4");
            while !stopped.load(Ordering::Relaxed) {
                let from = total.load(Ordering::Relaxed);
                let records: Vec<_> = (from..from + 20).map(event_record).collect();
                world.produce_all(&producer, &records).await;
                total.store(from + 20, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { stop, count, task }
    }

    /// Stops producing; returns the number of records produced.
    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.count.load(Ordering::Relaxed) as usize
    }
}

fn settings(assignment: Protocol) -> Settings {
    // A backlog of small batches drains slowly on a busy machine.
    Settings { assignment, drain_deadline: DEADLINE * 2, ..short_lived() }
}

/// Small batches that grow behind slow responses.
fn growing(assignment: Protocol) -> Settings {
    let mut settings = settings(assignment);
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (2, 500);
    }
    settings
}

/// Workers join and leave while records are produced. Returns how many batches grew, according to the metrics before each change.
async fn run_storm(assignment: Protocol, settings: fn(Protocol) -> Settings) -> f64 {
    let rounds = if std::env::var_os("SLUICE_TEST_LONG").is_some() { 60 } else { 6 };
    let world = Arc::new(World::new().await);
    let (watch, flow) = (Watch::start(&world), Flow::start(&world));
    let proxy = TcpProxy::with_delay(&world.stores.clickhouse.url, Duration::from_millis(50)).await;
    let clickhouse = [(CLICKHOUSE, proxy.url.as_str())];
    let grown_batches =
        |url: String| async move { metric(&url, "sluice_ingest_batches_total{", "reason=\"backlog\"").await };
    let mut total_grown = 0.0;
    let mut workers = vec![world.spawn_ready(&settings(assignment), &clickhouse).await];
    for round in 0..rounds {
        let committed = world.committed_sum(COMMUNICATION_EVENTS).await;
        total_grown += grown_batches(workers[0].url.clone()).await;
        match round % 6 {
            // Some are stopped as by an orchestrator, and one is killed.
            1 | 4 => drop(workers.remove(0).stop().await),
            3 => {
                workers.remove(0).kill().await;
                workers.push(world.spawn(&settings(assignment), &clickhouse));
            }
            _ => workers.push(world.spawn(&settings(assignment), &clickhouse)),
        }
        eventually(DEADLINE * 2, "the group continues", || async {
            world.committed_sum(COMMUNICATION_EVENTS).await > committed
        })
        .await;
    }
    let produced = flow.stop().await;
    world.wait_until_processed(produced).await;
    for worker in workers {
        // A process that has just started does not drain on SIGTERM yet.
        eventually(DEADLINE, "the worker runs", || async { status(&worker.url, "healthz").await == 200 }).await;
        total_grown += grown_batches(worker.url.clone()).await;
        worker.stop().await;
    }
    assert_eq!(watch.stop().await, Vec::<String>::new(), "{assignment:?}");
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{assignment:?}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (produced, 0), "{assignment:?}");
    Arc::into_inner(world).unwrap().drop_namespace().await;
    total_grown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_rebalances_loses_nothing() {
    let (not_grown, grown) =
        tokio::join!(run_storm(Protocol::Eager, settings), run_storm(Protocol::Cooperative, growing));
    assert!(grown > 0.0 && not_grown == 0.0, "{grown} batches grew, and {not_grown} with growth disabled");
    if std::env::var_os("SLUICE_TEST_LONG").is_some() {
        tokio::join!(run_storm(Protocol::Eager, growing), run_storm(Protocol::Cooperative, settings));
    }
}

/// A worker's first commit is in flight when another worker joins. The commit takes `millis` milliseconds or, without a value,
/// until the other worker has committed the records that it took over. Returns the backward steps of committed offsets.
async fn backward_steps_after_late_commit(assignment: Protocol, millis: Option<u32>, faults: &str) -> Vec<String> {
    let world = World::new().await;
    let watch = Watch::start(&world);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("continue");
    let delay =
        millis.map_or_else(|| format!("committing:{}", file.display()), |millis| format!("committing:{millis}"));
    let variables = [("SLUICE_DELAY", delay.as_str()), ("SLUICE_FAULTS", faults)];
    let slow = world.spawn_ready(&settings(assignment), &variables).await;
    let records: Vec<_> = (0..600).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    // An announcement is in flight now, and nothing is written before it is acknowledged.
    eventually(DEADLINE, "the slow worker has sealed batches", || async {
        metric(&slow.url, "sluice_ingest_batches_total{", "communication-events").await >= 6.0
    })
    .await;
    let other_worker = world.spawn_ready(&settings(assignment), &[]).await;
    if millis.is_none() {
        let is_committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await >= 300 };
        eventually(DEADLINE * 2, "the other worker lands and commits the records that it took over", is_committed)
            .await;
        std::fs::write(&file, "").unwrap();
    }
    world.wait_until_processed(600).await;
    eventually(DEADLINE, "the slow commit has completed", || async {
        metric(&slow.url, "sluice_ingest_commits_total{", "").await > 0.0
    })
    .await;
    if faults.is_empty() {
        let is_committed = || async { world.committed_sum(COMMUNICATION_EVENTS).await == 600 };
        eventually(DEADLINE * 2, "everything is committed", is_committed).await;
    }
    slow.stop().await;
    other_worker.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{assignment:?}, {delay}: {wrong}"));
    assert_eq!((counts.records, counts.landed), (600, 600), "{assignment:?}, {delay}");
    let steps_back = watch.stop().await;
    world.drop_namespace().await;
    steps_back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_flight_never_overwrites_the_next_owners_offset() {
    // The group expels a worker that takes longer than 6 s to revoke.
    let (eager, cooperative, late) = tokio::join!(
        backward_steps_after_late_commit(Protocol::Eager, Some(3000), ""),
        backward_steps_after_late_commit(Protocol::Cooperative, Some(3000), ""),
        backward_steps_after_late_commit(Protocol::Eager, Some(9000), ""),
    );
    assert_eq!((eager, cooperative, late), (vec![], vec![], vec![]));
    // On a busy machine, the group may have expelled the faulty worker before its commit arrives.
    for attempt in 1..=3 {
        if !backward_steps_after_late_commit(Protocol::Eager, None, "skip_revocation_wait,trust_acknowledgements")
            .await
            .is_empty()
        {
            return;
        }
        assert!(attempt < 3, "negative control: a worker that does not wait for its commit moves offsets back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_suspended_past_its_session_is_fenced() {
    let world = World::new().await;
    let watch = Watch::start(&world);
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let settings = short_lived();
    let suspended = world.spawn_ready(&settings, &[(CLICKHOUSE, &proxy.url)]).await;
    let producer = world.producer("lz4");
    let records: Vec<_> = (0..900).map(event_record).collect();
    proxy.set_mode(ProxyMode::Delayed(Duration::from_secs(3)));
    world.produce_all(&producer, &records[..600]).await;
    eventually(DEADLINE, "the worker is in the middle of the records", || async {
        (50..400).contains(&world.count().await)
    })
    .await;
    suspended.signal(Signal::SIGSTOP);
    let other_worker = world.spawn_ready(&short_lived(), &[]).await;
    world.wait_until_processed(600).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    suspended.signal(Signal::SIGCONT);
    world.produce_all(&producer, &records[600..]).await;
    eventually(DEADLINE, "the worker has detected the loss", || async { suspended.log().contains("\"is_lost\":true") })
        .await;
    world.wait_until_processed(900).await;
    suspended.stop().await;
    other_worker.stop().await;
    assert_eq!(watch.stop().await, Vec::<String>::new());
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.landed), (900, 900));
    world.drop_namespace().await;
}

/// A worker is suspended while its INSERT awaits a response. It resumes after another worker has landed that range and ClickHouse
/// has forgotten its token, but before it learns that its partitions are revoked. Lookups are disabled.
async fn judge_after_suspension(faults: &str) -> Result<usize, String> {
    let world = World::new().await;
    world.shrink_window(16).await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let settings = |first_wait| {
        let mut settings = short_lived();
        settings.peak_inserts_per_second = 1;
        settings.insert_timeout = Duration::from_secs(2);
        settings.retry.first_wait = Duration::from_millis(first_wait);
        settings
    };
    let variables = [(CLICKHOUSE, proxy.url.as_str()), ("SLUICE_FAULTS", faults), ("SLUICE_DELAY", "revoking:2000")];
    let suspended = world.spawn_ready(&settings(1), &variables).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..50)).await;
    // Before that, a lookup of the first rows might be disrupted instead of the INSERT.
    wait_for_commit(&world, 50).await;
    proxy.set_mode(ProxyMode::Silent);
    world.produce_all(&producer, &november_records(0, 50..100)).await;
    eventually(DEADLINE, "the INSERT is in flight", || async { proxy.disrupted_connections() > 0 }).await;
    suspended.signal(Signal::SIGSTOP);
    let other_worker = world.spawn_ready(&settings(50), &[]).await;
    world.wait_until_processed(100).await;
    world.write_foreign_rows(40).await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    suspended.signal(Signal::SIGCONT);
    eventually(DEADLINE, "the worker has detected the loss", || async { suspended.log().contains("\"is_lost\":true") })
        .await;
    suspended.stop().await;
    other_worker.stop().await;
    let judged = judge_allowing(&world, Allowed { foreign: 40, ..Allowed::default() }).await;
    world.drop_namespace().await;
    judged.map(|counts| counts.landed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_worker_sends_nothing_until_kafka_responds() {
    let (normal, faulty) = tokio::join!(
        judge_after_suspension("skip_lookup"),
        judge_after_suspension("skip_lookup,never_expire_lease,trust_acknowledgements,ignore_views")
    );
    assert_eq!(normal, Ok(100), "the lease alone prevents the retry");
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "without the lease: {faulty:?}");
}

/// One worker hangs while it revokes partitions, for longer than Kafka allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_consume_thread_is_detected() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("continue");
    let hangs = format!("revoking:{}", file.display());
    let stuck = world.spawn_ready(&short_lived(), &[("SLUICE_DELAY", &hangs)]).await;
    assert_eq!(status(&stuck.url, "healthz").await, 200);
    let other_worker = world.spawn(&short_lived(), &[]);
    eventually(DEADLINE, "the hung worker is unhealthy", || async { status(&stuck.url, "healthz").await == 503 }).await;
    assert_eq!(status(&other_worker.url, "healthz").await, 200, "a worker that polls is healthy");
    std::fs::write(&file, "").unwrap();
    eventually(DEADLINE, "the consume thread continues", || async { status(&stuck.url, "healthz").await == 200 }).await;
    stuck.stop().await;
    other_worker.stop().await;
    world.drop_namespace().await;
}
