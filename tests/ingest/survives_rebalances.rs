//! Workers come, go, die and sleep while records flow: every record lands once, and no offset ever goes back, even where a
//! worker loses a partition while a commit of it is on its way.

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
use sluice_testkit::{Gate, Manner, eventually};
use tokio::task::JoinHandle;

use crate::harness::{DEADLINE, World, event_record, in_partition, metric, status};
use crate::oracle::{Besides, judge, judge_besides};
use crate::process::short_lived;

const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";
const PARTITIONS: i32 = 6;

/// Somebody who looks at the committed offsets all the time.
struct Watch {
    is_over: Arc<AtomicBool>,
    seen: JoinHandle<Vec<String>>,
}

impl Watch {
    fn start(world: &World) -> Self {
        let mut config = connect::kafka_config(&world.stores);
        config.set("group.id", world.names.group(&Settings::default().group));
        let (topic, is_over) = (world.names.topic(COMMUNICATION_EVENTS), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&is_over);
        #[expect(clippy::disallowed_methods, reason = "it watches: this is how often it looks")]
        let look = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let (mut highest, mut steps_back) = (BTreeMap::new(), Vec::new());
            while !over.load(Ordering::Relaxed) {
                let mut list = TopicPartitionList::new();
                list.add_partition_range(&topic, 0, PARTITIONS - 1);
                // A coordinator that only just begins does not answer yet.
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
        Self { is_over, seen: tokio::task::spawn_blocking(look) }
    }

    /// Every step back that it saw.
    async fn end(mut self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        (&mut self.seen).await.unwrap()
    }
}

/// A test that fails must not wait for it for ever.
impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Records that flow until they are stopped.
struct Flow {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Flow {
    fn start(world: &Arc<World>) -> Self {
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (world, over, taken) = (Arc::clone(world), Arc::clone(&is_over), Arc::clone(&count));
        let task = tokio::spawn(async move {
            let producer = world.producer("lz4");
            while !over.load(Ordering::Relaxed) {
                let from = taken.load(Ordering::Relaxed);
                let some: Vec<_> = (from..from + 20).map(event_record).collect();
                world.produce_all(&producer, &some).await;
                taken.store(from + 20, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { is_over, count, task }
    }

    /// How many there were.
    async fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.count.load(Ordering::Relaxed) as usize
    }
}

fn settings(assignment: Protocol) -> Settings {
    // A backlog of small batches takes a while to drain on a busy machine.
    Settings { assignment, drain_deadline: DEADLINE * 2, ..short_lived() }
}

/// Small batches that grow behind slow answers.
fn growing(assignment: Protocol) -> Settings {
    let mut settings = settings(assignment);
    for pipeline in settings.pipelines.values_mut() {
        (pipeline.max_rows, pipeline.backlog_rows) = (2, 500);
    }
    settings
}

/// Workers come and go while records flow. Gives how many batches were seen to have grown.
async fn storm(assignment: Protocol, settings: fn(Protocol) -> Settings) -> f64 {
    let rounds = if std::env::var_os("SLUICE_TEST_LONG").is_some() { 60 } else { 6 };
    let world = Arc::new(World::new().await);
    let (watch, flow) = (Watch::start(&world), Flow::start(&world));
    let gate = Gate::slow(&world.stores.clickhouse.url, Duration::from_millis(50)).await;
    let clickhouse = [(CLICKHOUSE, gate.url.as_str())];
    let grown = |url: String| async move { metric(&url, "sluice_ingest_batches_total{", "cut=\"backlog\"").await };
    let mut all_grown = 0.0;
    let mut workers = vec![world.spawn_ready(&settings(assignment), &clickhouse).await];
    for round in 0..rounds {
        let committed = world.committed(COMMUNICATION_EVENTS).await;
        all_grown += grown(workers[0].url.clone()).await;
        match round % 6 {
            // Some leave as an orchestrator asks them to, and one dies.
            1 | 4 => drop(workers.remove(0).stop().await),
            3 => {
                workers.remove(0).kill().await;
                workers.push(world.spawn(&settings(assignment), &clickhouse));
            }
            _ => workers.push(world.spawn(&settings(assignment), &clickhouse)),
        }
        eventually(DEADLINE * 2, "it goes on", || async { world.committed(COMMUNICATION_EVENTS).await > committed })
            .await;
    }
    let produced = flow.end().await;
    world.settled(produced).await;
    for worker in workers {
        all_grown += grown(worker.url.clone()).await;
        worker.stop().await;
    }
    assert_eq!(watch.end().await, Vec::<String>::new(), "{assignment:?}");
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{assignment:?}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (produced, 0), "{assignment:?}");
    Arc::into_inner(world).unwrap().drop().await;
    all_grown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_rebalances_costs_nothing() {
    let (off, grown) = tokio::join!(storm(Protocol::Eager, settings), storm(Protocol::Cooperative, growing));
    assert!(grown > 0.0 && off == 0.0, "{grown} batches have grown, and {off} with growth switched off");
    if std::env::var_os("SLUICE_TEST_LONG").is_some() {
        tokio::join!(storm(Protocol::Eager, growing), storm(Protocol::Cooperative, settings));
    }
}

/// A worker is on its way with its first commit when another joins; that takes so many milliseconds, or as long as it takes
/// the other to commit what it took over. Gives the steps back that were seen.
async fn late_commit(assignment: Protocol, millis: Option<u32>, faults: &str) -> Vec<String> {
    let world = World::new().await;
    let watch = Watch::start(&world);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("go on");
    let delay =
        millis.map_or_else(|| format!("committing:{}", file.display()), |millis| format!("committing:{millis}"));
    let variables = [("SLUICE_DELAY", delay.as_str()), ("SLUICE_FAULTS", faults)];
    let slow = world.spawn_ready(&settings(assignment), &variables).await;
    let records: Vec<_> = (0..600).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    // An announcement is on its way now, and nothing is written before it has arrived.
    eventually(DEADLINE, "it has sealed batches", || async {
        metric(&slow.url, "sluice_ingest_batches_total{", "communication-events").await >= 6.0
    })
    .await;
    let other = world.spawn_ready(&settings(assignment), &[]).await;
    if millis.is_none() {
        let is_committed = || async { world.committed(COMMUNICATION_EVENTS).await >= 300 };
        eventually(DEADLINE * 2, "the other lands and commits what it took over", is_committed).await;
        std::fs::write(&file, "").unwrap();
    }
    world.settled(600).await;
    eventually(DEADLINE, "its commit has come to an end", || async {
        metric(&slow.url, "sluice_ingest_commits_total{", "").await > 0.0
    })
    .await;
    if faults.is_empty() {
        let is_committed = || async { world.committed(COMMUNICATION_EVENTS).await == 600 };
        eventually(DEADLINE * 2, "all is committed", is_committed).await;
    }
    slow.stop().await;
    other.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{assignment:?}, {delay}: {wrong}"));
    assert_eq!((counts.records, counts.landed), (600, 600), "{assignment:?}, {delay}");
    let steps_back = watch.end().await;
    world.drop().await;
    steps_back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_on_its_way_never_overtakes_the_next_owner() {
    // The group gives up on a worker that takes longer than 6 s to let go.
    let (eager, cooperative, late) = tokio::join!(
        late_commit(Protocol::Eager, Some(3000), ""),
        late_commit(Protocol::Cooperative, Some(3000), ""),
        late_commit(Protocol::Eager, Some(9000), ""),
    );
    assert_eq!((eager, cooperative, late), (vec![], vec![], vec![]));
    // On a busy machine the group may have given up on the careless one before its commit arrives.
    for chance in 1..=3 {
        if !late_commit(Protocol::Eager, None, "skip_revocation_wait,trust_acknowledgements").await.is_empty() {
            return;
        }
        assert!(chance < 3, "a worker that does not wait for its commit sets offsets back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_slept_through_its_session_is_fenced() {
    let world = World::new().await;
    let watch = Watch::start(&world);
    let gate = Gate::slow(&world.stores.clickhouse.url, Duration::from_millis(500)).await;
    let settings = short_lived();
    let zombie = world.spawn_ready(&settings, &[(CLICKHOUSE, &gate.url)]).await;
    let producer = world.producer("lz4");
    let records: Vec<_> = (0..900).map(event_record).collect();
    world.produce_all(&producer, &records[..600]).await;
    eventually(DEADLINE, "it is in the middle of it", || async { (50..400).contains(&world.count().await) }).await;
    zombie.signal(Signal::SIGSTOP);
    let other = world.spawn_ready(&short_lived(), &[]).await;
    world.settled(600).await;
    zombie.signal(Signal::SIGCONT);
    world.produce_all(&producer, &records[600..]).await;
    eventually(DEADLINE, "it has noticed", || async { zombie.said().contains("\"is_lost\":true") }).await;
    world.settled(900).await;
    zombie.stop().await;
    other.stop().await;
    assert_eq!(watch.end().await, Vec::<String>::new());
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.landed), (900, 900));
    world.drop().await;
}

/// A worker falls asleep while an INSERT of its is without an answer. It wakes when another has landed that range and
/// ClickHouse has forgotten its token, and before it hears that its partitions are gone; it does not look the range up.
async fn woken(faults: &str) -> Result<usize, String> {
    let world = World::new().await;
    world.remember_only(16).await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let settings = |first_wait| {
        let mut settings = short_lived();
        settings.peak_inserts_per_second = 1;
        settings.insert_timeout = Duration::from_secs(2);
        settings.retry.first_wait = Duration::from_millis(first_wait);
        settings
    };
    let variables = [(CLICKHOUSE, gate.url.as_str()), ("SLUICE_FAULTS", faults), ("SLUICE_DELAY", "revoking:2000")];
    let sleeper = world.spawn_ready(&settings(1), &variables).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &in_partition(0, 0..50)).await;
    world.settled(50).await;
    gate.behave(Manner::Silent);
    world.produce_all(&producer, &in_partition(0, 50..100)).await;
    eventually(DEADLINE, "its INSERT is on its way", || async { gate.harmed() > 0 }).await;
    sleeper.signal(Signal::SIGSTOP);
    let other = world.spawn_ready(&settings(50), &[]).await;
    world.settled(100).await;
    world.others_write(40).await;
    gate.behave(Manner::Late(Duration::ZERO));
    sleeper.signal(Signal::SIGCONT);
    eventually(DEADLINE, "it has noticed", || async { sleeper.said().contains("\"is_lost\":true") }).await;
    sleeper.stop().await;
    other.stop().await;
    let judged = judge_besides(&world, Besides { others: 40, ..Besides::default() }).await;
    world.drop().await;
    judged.map(|counts| counts.landed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_slept_sends_nothing_before_kafka_has_answered() {
    let (held, careless) =
        tokio::join!(woken("skip_lookup"), woken("skip_lookup,never_expire_lease,trust_acknowledgements,ignore_views"));
    assert_eq!(held, Ok(100), "the lease alone holds it back");
    assert!(careless.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "without it: {careless:?}");
}

/// One worker hangs while it gives partitions up, for longer than Kafka lets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consume_thread_that_hangs_is_noticed() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("go on");
    let hangs = format!("revoking:{}", file.display());
    let stuck = world.spawn_ready(&short_lived(), &[("SLUICE_DELAY", &hangs)]).await;
    assert_eq!(status(&stuck.url, "healthz").await, 200);
    let other = world.spawn(&short_lived(), &[]);
    eventually(DEADLINE, "it is said to hang", || async { status(&stuck.url, "healthz").await == 503 }).await;
    assert_eq!(status(&other.url, "healthz").await, 200, "one that turns is not");
    std::fs::write(&file, "").unwrap();
    eventually(DEADLINE, "it goes on", || async { status(&stuck.url, "healthz").await == 200 }).await;
    stuck.stop().await;
    other.stop().await;
    world.drop().await;
}
