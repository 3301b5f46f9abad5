//! ClickHouse is slow, silent, resets requests or responses, returns every class of error, or is unavailable for longer than
//! the group's poll interval. Nothing is lost, duplicated or dead-lettered, and the group never rebalances.

use std::time::{Duration, Instant};

use futures::future::join_all;
use sluice_schemas::names::topic;
use sluice_testkit::{InterceptingProxy, ProxyMode, TcpProxy, eventually};

use crate::harness::{
    DEADLINE, Worker, World, event_record, metric, november_records, quick_settings, status, wait_for_stall,
};
use crate::oracle::judge;
use crate::process::short_lived;

const INSERT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time between two polls of a worker that survives an outage, and its session: longer than a busy machine delays a process.
const POLL_INTERVAL: Duration = Duration::from_secs(15);
const UNDELAYED: ProxyMode = ProxyMode::Delayed(Duration::ZERO);
/// Variable with ClickHouse's URL for a worker process.
const CLICKHOUSE: &str = "SLUICE_STORES__CLICKHOUSE__URL";

/// Lands records of every partition. After that, only INSERTs pass through the proxy.
async fn warm_up(world: &World) {
    let records: Vec<_> = (0..6).flat_map(|partition| november_records(partition, 1000..1010)).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    world.wait_until_processed(60).await;
}

/// Runs a worker behind a proxy in this mode while records arrive; returns the number of blocks that ClickHouse dropped as
/// duplicates.
async fn run_behind_proxy(mode: ProxyMode, breaks_inserts: bool) -> usize {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url.clone_from(&proxy.url);
    let mut settings = quick_settings();
    settings.insert_timeout = INSERT_TIMEOUT;
    let worker = world.start_with_stores(settings, stores).await;
    world.wait_until_tables_are_old().await;
    warm_up(&world).await;
    let committed = || world.committed_sum(topic::COMMUNICATION_EVENTS);
    eventually(DEADLINE, "the first records are committed", || async { committed().await == 60 }).await;
    let retries = || worker.metric("sluice_ingest_retries_total{", "communication-events\",class=\"transient");
    let before = retries().await;
    proxy.set_mode(mode);
    let records: Vec<_> = (0..300).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    if breaks_inserts {
        eventually(DEADLINE, "attempts fail", || async { retries().await >= before + 6.0 }).await;
        assert!(worker.status("healthz").await == 200, "{mode:?}: a restart would not help");
        assert_eq!(committed().await, 60, "{mode:?}: nothing was acknowledged");
        proxy.set_mode(UNDELAYED);
    }
    world.wait_until_processed(360).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap_or_else(|wrong| panic!("{mode:?}: {wrong}"));
    assert_eq!((counts.records, counts.dead_lettered), (360, 0), "{mode:?}");
    let dropped = world.deduplicated_blocks("communication_events");
    world.drop_namespace().await;
    dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_lands_once_whatever_happens_to_its_requests() {
    let slow = run_behind_proxy(ProxyMode::Delayed(Duration::from_millis(200)), false);
    let slower_than_timeout = run_behind_proxy(ProxyMode::Delayed(INSERT_TIMEOUT * 2), true);
    let (silent, half_request, lost_response) = (
        run_behind_proxy(ProxyMode::Silent, true),
        run_behind_proxy(ProxyMode::ResetInRequest, true),
        run_behind_proxy(ProxyMode::ResetInResponse, true),
    );
    let (_, slower_than_timeout, _, _, lost_response) =
        tokio::join!(slow, slower_than_timeout, silent, half_request, lost_response);
    // This proves that INSERTs had landed without the worker's knowledge and that ClickHouse recognized their retries.
    assert!(
        slower_than_timeout > 0 && lost_response > 0,
        "duplicate blocks: {slower_than_timeout} after late responses, {lost_response} after lost ones"
    );
}

/// Loses responses of a worker with these faults.
async fn judge_lost_responses(faults: &str) -> Result<(), String> {
    let world = World::new().await;
    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[("SLUICE_FAULTS", faults), (CLICKHOUSE, &proxy.url)]).await;
    world.wait_until_tables_are_old().await;
    warm_up(&world).await;
    proxy.set_mode(ProxyMode::ResetInResponse);
    world.produce_all(&world.producer("lz4"), &november_records(0, 0..50)).await;
    eventually(DEADLINE, "an INSERT lands and its response is lost", || async {
        world.count().await >= 110 && proxy.disrupted_connections() >= 2
    })
    .await;
    proxy.set_mode(UNDELAYED);
    let committed = || world.committed_sum(topic::COMMUNICATION_EVENTS);
    eventually(DEADLINE, "everything is committed", || async { committed().await == 110 }).await;
    worker.stop().await;
    let judged = judge(&world).await.map(drop);
    world.drop_namespace().await;
    judged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oracle_detects_rows_duplicated_by_a_lost_response() {
    let (normal, faulty) =
        tokio::join!(judge_lost_responses(""), judge_lost_responses("random_token,trust_acknowledgements"));
    assert_eq!(normal, Ok(()));
    assert!(faulty.as_ref().is_err_and(|wrong| wrong.contains("more than once")), "{faulty:?}");
}

/// Status, code, and the class as which the worker counts it. Code 469 blames a row, although the row is valid.
const ERRORS: [(u16, Option<u32>, &str); 10] = [
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

/// Starts a worker whose ClickHouse is behind a proxy.
async fn start_behind_proxy(world: &World) -> (InterceptingProxy, Worker) {
    let proxy = InterceptingProxy::in_front_of(&world.stores.clickhouse.url).await;
    let mut stores = world.stores.clone();
    stores.clickhouse.url.clone_from(&proxy.url);
    let worker = world.start_with_stores(quick_settings(), stores).await;
    (proxy, worker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_of_error_is_survived() {
    let world = World::new().await;
    let (proxy, worker) = start_behind_proxy(&world).await;
    let producer = world.producer("lz4");
    let mut sent = 0;
    for (status, code, class) in ERRORS {
        let times = if class == "row" { 1 } else { 2 };
        let before = worker.metric("sluice_ingest_retries_total{", class).await;
        proxy.refuse(times, status, code);
        world.produce_all(&producer, &november_records(0, sent..sent + 20)).await;
        sent += 20;
        world.wait_until_processed(sent as usize).await;
        assert_eq!(proxy.intercepted(), times, "{status} {code:?}");
        let counted = worker.metric("sluice_ingest_retries_total{", class).await - before;
        assert!(counted >= times as f64, "{status} {code:?}: {counted} counted as {class}");
    }
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (sent as usize, 0));
    world.drop_namespace().await;
}

/// The local ClickHouse has no users to revoke, so the proxy refuses as ClickHouse does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_password_pauses_writes_until_restored() {
    let world = World::new().await;
    let (proxy, worker) = start_behind_proxy(&world).await;
    let producer = world.producer("lz4");
    world.produce_all(&producer, &november_records(0, 0..100)).await;
    world.wait_until_processed(100).await;
    proxy.refuse(usize::MAX, 403, Some(516));
    world.produce_all(&producer, &november_records(0, 100..200)).await;
    wait_for_stall(&worker.url, "AUTHENTICATION_FAILED").await;
    assert_eq!(world.count().await, 100, "negative control: nothing lands");
    proxy.forward_all();
    world.wait_until_processed(200).await;
    eventually(DEADLINE, "the worker is ready again", || async { worker.status("readyz").await == 200 }).await;
    worker.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (200, 0));
    world.drop_namespace().await;
}

/// Makes ClickHouse unavailable for `outage`; the worker's log must show no rebalance.
async fn survive_outage(outage: Duration) {
    let world = World::new().await;
    let mut proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut settings = short_lived();
    for key in ["session.timeout.ms", "max.poll.interval.ms"] {
        settings.kafka.insert(key.to_owned(), POLL_INTERVAL.as_millis().to_string());
    }
    let worker = world.spawn_ready(&settings, &[(CLICKHOUSE, &proxy.url)]).await;
    let producer = world.producer("lz4");
    let records: Vec<_> = (0..600).map(event_record).collect();
    world.produce_all(&producer, &records[..300]).await;
    world.wait_until_processed(300).await;
    proxy.close();
    let started = Instant::now();
    world.produce_all(&producer, &records[300..]).await;
    eventually(DEADLINE, "the worker stalls", || async { status(&worker.url, "readyz").await == 503 }).await;
    // The outage must be longer than the poll interval.
    tokio::time::sleep(outage.saturating_sub(started.elapsed())).await;
    assert_eq!(status(&worker.url, "healthz").await, 200, "a restart would not help");
    assert_eq!(world.count().await, 300, "negative control: the proxy is closed");
    proxy.reopen().await;
    world.wait_until_processed(600).await;
    assert!(metric(&worker.url, "sluice_ingest_retries_total{", "transient").await > 3.0);
    assert_eq!(worker.log().matches("partitions revoked").count(), 0, "no rebalance");
    assert!(worker.stop().await.contains("partitions assigned"), "the log contains assignments");
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (600, 0));
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_longer_than_the_poll_interval_causes_no_rebalance() {
    let long = std::env::var_os("SLUICE_TEST_LONG").is_some();
    let outages: &[u64] = if long { &[20, 60, 300] } else { &[20] };
    join_all(outages.iter().map(|seconds| survive_outage(Duration::from_secs(*seconds)))).await;
}
