//! ClickHouse is slow, silent, breaks off in the middle, does not get its answer through, answers every class of error, or
//! stays away for longer than the group would wait for a worker that does not poll: nothing is lost, doubled or
//! dead-lettered, and the group never rebalances.

use std::time::{Duration, Instant};

use futures::future::join_all;
use sluice_schemas::names::topic;
use sluice_testkit::{Gate, Manner, StandIn, eventually};

use crate::harness::{
    DEADLINE, Worker, World, event_record, in_partition, metric, quick_settings, stands_still, status,
};
use crate::oracle::judge;
use crate::process::short_lived;

const INSERT_TIMEOUT: Duration = Duration::from_secs(2);
const AT_ONCE: Manner = Manner::Late(Duration::ZERO);
/// Where a worker process finds ClickHouse.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";

/// Records of every partition; once they have landed, all that goes through the gate is INSERTs.
async fn warmed_up(world: &World) {
    let records: Vec<_> = (0..6).flat_map(|partition| in_partition(partition, 1000..1010)).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    world.settled(60).await;
}

/// Treats a worker's requests like that while records come, and says how many blocks ClickHouse recognised.
async fn treated(manner: Manner, is_harmful: bool) -> usize {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url.clone_from(&gate.url);
    let mut settings = quick_settings();
    settings.insert_timeout = INSERT_TIMEOUT;
    let worker = world.start_against(settings, stores).await;
    warmed_up(&world).await;
    let committed = || world.committed(topic::COMMUNICATION_EVENTS);
    eventually(DEADLINE, "the first records are committed", || async { committed().await == 60 }).await;
    let retries = || worker.metric("sluice_ingest_retries_total{", "communication-events\",class=\"transient");
    let before = retries().await;
    gate.behave(manner);
    let records: Vec<_> = (0..300).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    if is_harmful {
        eventually(DEADLINE, "attempts fail", || async { retries().await >= before + 6.0 }).await;
        assert!(worker.status("healthz").await == 200, "{manner:?}: a restart would not help");
        assert_eq!(committed().await, 60, "{manner:?}: nothing was acknowledged");
        gate.behave(AT_ONCE);
    }
    world.settled(360).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{manner:?}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (360, 0), "{manner:?}");
    let dropped = world.blocks_dropped("communication_events");
    world.drop().await;
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_its_requests_every_record_lands_once() {
    let slow = treated(Manner::Late(Duration::from_millis(200)), false);
    let late = treated(Manner::Late(INSERT_TIMEOUT * 2), true);
    let (silent, torn, unheard) =
        (treated(Manner::Silent, true), treated(Manner::Torn, true), treated(Manner::Unheard, true));
    let (_, late, _, _, unheard) = tokio::join!(slow, late, silent, torn, unheard);
    // Evidence that INSERTs had landed of which the worker did not know, and that ClickHouse recognised them.
    assert!(late > 0 && unheard > 0, "blocks recognised: {late} after late answers, {unheard} after lost ones");
}

/// Lets answers get lost for a while, with part of the promise broken on purpose.
async fn unheard_with(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let gate = Gate::open(&world.stores.clickhouse.url).await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &gate.url)]).await;
    warmed_up(&world).await;
    gate.behave(Manner::Unheard);
    world.produce_all(&world.producer("lz4"), &in_partition(0, 0..50)).await;
    eventually(DEADLINE, "an INSERT lands unheard", || async { world.count().await >= 110 && gate.harmed() >= 2 })
        .await;
    gate.behave(AT_ONCE);
    let committed = || world.committed(topic::COMMUNICATION_EVENTS);
    eventually(DEADLINE, "all is committed", || async { committed().await == 110 }).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_notices_when_a_lost_answer_doubles_rows() {
    let (whole, broken) = tokio::join!(unheard_with(""), unheard_with("random_token,trust_acknowledgements"));
    assert_eq!(whole, Ok(()));
    assert!(broken.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{broken:?}");
}

/// Status, code, and the class that the worker counts it under. Row 469 is blamed on a row although the row is good.
const ANSWERS: [(u16, Option<u32>, &str); 10] = [
    (500, Some(241), "transient"), // MEMORY_LIMIT_EXCEEDED
    (500, Some(252), "transient"), // TOO_MANY_PARTS
    (500, Some(164), "operator"),  // READONLY
    (500, Some(209), "transient"), // SOCKET_TIMEOUT
    (503, None, "transient"),
    (429, None, "transient"),
    (403, Some(497), "operator"), // ACCESS_DENIED
    (403, Some(516), "operator"), // AUTHENTICATION_FAILED
    (404, Some(60), "operator"),  // UNKNOWN_TABLE
    (400, Some(469), "row"),      // VIOLATED_CONSTRAINT
];

/// A worker that takes a stand-in for its ClickHouse.
async fn behind_a_stand_in(world: &World) -> (StandIn, Worker) {
    let stand_in = StandIn::before(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url.clone_from(&stand_in.url);
    let worker = world.start_against(quick_settings(), stores).await;
    (stand_in, worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_of_error_is_outlasted() {
    let world = World::new().await;
    let (stand_in, worker) = behind_a_stand_in(&world).await;
    let producer = world.producer("lz4");
    let mut sent = 0;
    for (status, code, class) in ANSWERS {
        let times = if class == "row" { 1 } else { 2 };
        let before = worker.metric("sluice_ingest_retries_total{", class).await;
        stand_in.refuse(times, status, code);
        world.produce_all(&producer, &in_partition(0, sent..sent + 20)).await;
        sent += 20;
        world.settled(sent as usize).await;
        assert_eq!(stand_in.refused(), times, "{status} {code:?}");
        let counted = worker.metric("sluice_ingest_retries_total{", class).await - before;
        assert!(counted >= times as f64, "{status} {code:?}: {counted} counted as {class}");
    }
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (sent as usize, 0));
    world.drop().await;
}

/// The local ClickHouse has no users to revoke, so the stand-in refuses as ClickHouse does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_revoked_meanwhile_is_waited_for() {
    let world = World::new().await;
    let (stand_in, worker) = behind_a_stand_in(&world).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &in_partition(0, 0..100)).await;
    world.settled(100).await;
    stand_in.refuse(usize::MAX, 403, Some(516));
    world.produce_all(&producer, &in_partition(0, 100..200)).await;
    stands_still(&worker.url, "AUTHENTICATION_FAILED").await;
    assert_eq!(world.count().await, 100, "negative control: nothing gets in");
    stand_in.refuse(0, 200, None);
    world.settled(200).await;
    eventually(DEADLINE, "it is ready again", || async { worker.status("readyz").await == 200 }).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (200, 0));
    world.drop().await;
}

/// Keeps ClickHouse away for so long, and counts on the worker's own log.
async fn away(outage: Duration) {
    let world = World::new().await;
    let mut gate = Gate::open(&world.stores.clickhouse.url).await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[(CLICKHOUSE, &gate.url)]).await;
    let producer = world.producer("lz4");
    let records: Vec<_> = (0..600).map(event_record).collect();
    world.produce_all(&producer, &records[..300]).await;
    world.settled(300).await;
    gate.shut();
    let begun = Instant::now();
    world.produce_all(&producer, &records[300..]).await;
    eventually(DEADLINE, "it stands still", || async { status(&worker.url, "readyz").await == 503 }).await;
    // How long the group waits for a worker that does not poll is what has to pass.
    tokio::time::sleep(outage.saturating_sub(begun.elapsed())).await;
    assert_eq!(status(&worker.url, "healthz").await, 200, "a restart would not help");
    assert_eq!(world.count().await, 300, "negative control: the gate is shut");
    gate.reopen().await;
    world.settled(600).await;
    assert!(metric(&worker.url, "sluice_ingest_retries_total{", "transient").await > 3.0);
    assert_eq!(worker.said().matches("partitions revoked").count(), 0, "no rebalance");
    assert!(worker.stop().await.contains("partitions assigned"), "the log is the right one");
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (600, 0));
    world.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_longer_than_the_poll_interval_costs_no_partition() {
    let long = std::env::var_os("SLUICE_TEST_LONG").is_some();
    // `short_lived` allows 6 s between two polls.
    let outages: &[u64] = if long { &[9, 60, 300] } else { &[9] };
    join_all(outages.iter().map(|seconds| away(Duration::from_secs(*seconds)))).await;
}
