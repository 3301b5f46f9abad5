//! The program receives SIGTERM, as from an orchestrator: consumed records land and are committed, then it exits with 0. If the
//! drain takes too long, it reports that and exits with 1. Nothing is committed that did not land.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_schemas::names::topic;
use sluice_testkit::{TcpProxy, eventually};
use tokio::process::Command;

use crate::harness::{DEADLINE, World, event_record, metric, page, quick_settings, status};
use crate::oracle::judge;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_writes_and_commits_everything_before_exit() {
    let world = World::new().await;
    let listen = quick_settings().listen.to_string();
    let url = format!("http://{listen}");
    // The signal arrives before the default batch timer of thirty seconds has expired.
    let program = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["ingest", "--namespace", world.names.namespace()])
        .args(["--port-base", &world.port_base().to_string()])
        .env("SLUICE_INGEST__LISTEN", &listen)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    eventually(DEADLINE, "the program is ready", || async { status(&url, "readyz").await == 200 }).await;
    let records: Vec<_> = (0..500).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    eventually(DEADLINE, "records are consumed", || async {
        metric(&url, "sluice_ingest_bytes_in_flight{", "communication-events").await > 0.0
    })
    .await;
    assert_eq!(world.count().await, 0, "negative control: no batch was due yet");

    kill(Pid::from_raw(i32::try_from(program.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let output = program.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let landed = world.count().await;
    assert!(
        landed > 0 && printed.contains(&format!("consumed {landed}, landed {landed}, dead-lettered 0")),
        "{printed}"
    );
    assert_eq!(world.committed_sum(topic::COMMUNICATION_EVENTS).await, i64::try_from(landed).unwrap());
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_past_its_deadline_is_reported_and_loses_nothing() {
    let world = World::new().await;
    let mut proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let mut settings = quick_settings();
    settings.drain_deadline = Duration::from_secs(1);
    let url = proxy.url.clone();
    let clickhouse = [("SLUICE_STORES__CLICKHOUSE__URL", url.as_str())];
    let mut worker = world.spawn_ready(&settings, &clickhouse).await;
    let records: Vec<_> = (0..100).map(event_record).collect();
    world.produce_all(&world.producer("lz4"), &records).await;
    world.wait_until_processed(100).await;
    proxy.close();
    world.produce_all(&world.producer("lz4"), &records).await;
    eventually(DEADLINE, "the worker stalls", || async { status(&worker.url, "readyz").await == 503 }).await;
    worker.signal(Signal::SIGTERM);
    let status = worker.wait_for_exit().await;
    assert_eq!(status.code(), Some(1), "{}", worker.log());
    assert!(worker.log().contains("the drain deadline passed"), "{}", worker.log());
    assert_eq!(world.count().await, 100, "negative control: the other records could not land");

    // The next worker cannot start before it has read the tables' columns from ClickHouse.
    let next = world.spawn(&settings, &clickhouse);
    eventually(DEADLINE, "the page reports what the worker is waiting for", || async {
        page(&next.url, "readyz").await.contains("starting; ClickHouse at http://127.0.0.1")
    })
    .await;
    proxy.reopen().await;
    world.wait_until_processed(200).await;
    next.stop().await;
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.landed, counts.dead_lettered), (200, 0));
    world.drop_namespace().await;
}
