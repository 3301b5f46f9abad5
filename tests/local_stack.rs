//! The guarantees of the local stack: `up` can be repeated, interrupted and run twice concurrently; `down` stops only
//! what `up` started; every failure is reported in one sentence and leaves nothing behind. Each test has its own stack,
//! with the stores that start fastest.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "local_stack/helper.rs"]
mod helper;

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use helper::{
    SLUICE, has_recorded_process, is_running, kill, pids, query, sluice, spawn_unrelated, stack_processes, up,
};
use nix::sys::signal::Signal;
use sluice_stack::{Error, Progress, Wipe, down, keeper, lease, status};
use sluice_testkit::{OwnStack, Service, State, eventually};

const PAIR: &[Service] = &[Service::ClickHouse, Service::RedisState];
const TIMEOUT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn up_can_be_repeated_and_concurrent_calls_start_everything_once() {
    let stack = OwnStack::new(SLUICE);
    let (first, second) = tokio::join!(up(&stack, PAIR), up(&stack, PAIR));
    first.unwrap();
    second.unwrap();
    let before = pids(&stack, PAIR).await;
    assert_eq!(before.len(), 4, "one ClickHouse and three nodes of Redis: {before:?}");
    up(&stack, PAIR).await.unwrap();
    assert_eq!(pids(&stack, PAIR).await, before, "ready services are left alone");
    assert_eq!(stack_processes(&stack).len(), before.len(), "nothing else is running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_is_reported_and_restarts_with_its_data() {
    let stack = OwnStack::with(SLUICE, PAIR).await;
    query(&stack, "CREATE TABLE kept (n Int64) ENGINE = MergeTree ORDER BY n").await;
    query(&stack, "INSERT INTO kept SELECT number FROM numbers(1000)").await;
    let redis = pids(&stack, &[Service::RedisState]).await;
    kill(pids(&stack, &[Service::ClickHouse]).await[0], Signal::SIGKILL);
    eventually(TIMEOUT, "status reports the killed store", || async {
        let rows = status(stack.layout()).await.unwrap();
        rows.iter().any(|row| row.service == Service::ClickHouse && row.state == State::Exited)
    })
    .await;
    up(&stack, PAIR).await.unwrap();
    assert_eq!(query(&stack, "SELECT count() FROM kept").await.trim(), "1000");
    assert_eq!(pids(&stack, &[Service::RedisState]).await, redis, "the other services were left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn down_stops_what_up_started_and_no_process_that_reused_a_pid() {
    let stack = OwnStack::with(SLUICE, &[Service::RedisState]).await;
    let unrelated = spawn_unrelated();
    // The record of a node now has the pid of another process, with a different start time.
    helper::forge(&stack, "clickhouse", unrelated.pid, unrelated.started + 1);
    let own = pids(&stack, &[Service::RedisState]).await;
    let stopped = down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert_eq!(stopped, [Service::RedisState]);
    assert!(own.iter().all(|pid| !is_running(*pid)));
    assert!(is_running(unrelated.pid), "an unrelated process was stopped");
    // With the correct start time the record identifies the process, so the check above can tell the two apart.
    helper::forge(&stack, "clickhouse", unrelated.pid, unrelated.started);
    down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert!(!is_running(unrelated.pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_reported_with_the_store_and_the_process_that_holds_it() {
    let stack = OwnStack::new(SLUICE);
    let port = stack.layout().ports().redis_state(1);
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let error = up(&stack, &[Service::RedisState]).await.unwrap_err();
    let holder = std::process::id().to_string();
    assert!(
        matches!(&error, Error::PortTaken { service: Service::RedisState, port: p, holder: h } if *p == port && h.contains(&holder))
    );
    assert!(error.to_string().contains("--port-base"), "{error}");
    assert_eq!(stack_processes(&stack), [0; 0], "nothing was started");
    assert!(!stack.layout().state_dir().exists(), "nothing was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_to_start_is_reported_with_its_last_log_lines() {
    let stack = OwnStack::new(SLUICE);
    let folder = stack.layout().state_dir().join("redis-state-0");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("nodes.conf"), "not the file of a cluster\n").unwrap();
    let error = up(&stack, &[Service::RedisState]).await.unwrap_err();
    assert!(matches!(error, Error::Exited { service: Service::RedisState, .. }), "{error}");
    assert!(error.to_string().contains("orrupted cluster config"), "{error}");
    assert_eq!(stack_processes(&stack), [0; 0], "the other nodes were stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_during_up_leaves_no_process_behind() {
    let stack = OwnStack::new(SLUICE);
    let mut running = sluice(&stack, &["up", "--only", "kafka"]).spawn().unwrap();
    eventually(TIMEOUT, "the broker starts", || async { has_recorded_process(&stack, "kafka") }).await;
    kill(running.id().unwrap().cast_signed(), Signal::SIGINT);
    assert_eq!(running.wait().await.unwrap().code(), Some(130));
    eventually(TIMEOUT, "the broker exits", || async { stack_processes(&stack).is_empty() }).await;
    assert!(!has_recorded_process(&stack, "kafka"));
}

#[tokio::test(flavor = "multi_thread")]
async fn down_finds_the_processes_of_a_killed_up() {
    let stack = OwnStack::new(SLUICE);
    let mut running = sluice(&stack, &["up", "--only", "kafka"]).spawn().unwrap();
    eventually(TIMEOUT, "the broker starts", || async { !stack_processes(&stack).is_empty() }).await;
    running.kill().await.unwrap();
    // The worst case: the process exists, but its record does not identify it yet.
    helper::clear_process(&stack, "kafka");
    down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert_eq!(stack_processes(&stack), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wipe_removes_the_stacks_data_and_nothing_else() {
    let stack = OwnStack::with(SLUICE, &[Service::RedisState]).await;
    let state = stack.layout().state_dir().to_owned();
    down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert!(state.join("redis-state-0/appendonlydir").exists(), "data is kept without --wipe");
    let foreign = state.join("notes.txt");
    std::fs::write(&foreign, "not part of the stack").unwrap();
    down(stack.layout(), Wipe::Yes, &Progress::silent()).await.unwrap();
    let remaining: Vec<_> = std::fs::read_dir(&state).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(remaining, [foreign]);
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_stops_the_stack_after_the_last_lease() {
    let stack = OwnStack::new(SLUICE);
    let held = lease(stack.layout()).await.unwrap();
    up(&stack, &[Service::RedisState]).await.unwrap();
    keeper::spawn(stack.layout(), Duration::from_millis(10)).unwrap();
    // This takes long enough for a keeper that ignores leases to stop the stack.
    up(&stack, PAIR).await.unwrap();
    assert_eq!(pids(&stack, PAIR).await.len(), 4);
    drop(held);
    eventually(TIMEOUT, "the idle stack stops", || async { stack_processes(&stack).is_empty() }).await;
}

#[tokio::test]
async fn all_missing_tools_are_reported_at_once() {
    let stack = OwnStack::new(SLUICE);
    let empty = tempfile::tempdir().unwrap();
    let mut command = sluice(&stack, &["up"]);
    command.env("PATH", empty.path()).env("SLUICE_CACHE", empty.path()).env_remove("JAVA_HOME");
    let output = command.output().await.unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{printed}");
    for word in ["Java", "mvn", "npm", "pip", "openjdk-17-jre-headless", "maven", "python3-pip"] {
        assert!(printed.contains(word), "{word} is not in: {printed}");
    }
    assert!(!printed.contains("golang"), "only S3 needs Go: {printed}");
}
