//! The local stack keeps its promises: `up` may be repeated, interrupted and run twice at once; `down` ends only what
//! `up` started; whatever goes wrong is said in one sentence and leaves nothing behind. Each test has a stack of its
//! own, of the stores that start quickest.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "local_stack/helper.rs"]
mod helper;

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use helper::{SLUICE, answer, has_record, kill, lives, ours, pids, sleeper, sluice, up};
use nix::sys::signal::Signal;
use sluice_stack::{Error, Progress, Wipe, down, keeper, lease, status};
use sluice_testkit::{OwnStack, Service, State, eventually};

const PAIR: &[Service] = &[Service::ClickHouse, Service::RedisState];
const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn up_may_be_repeated_and_runs_once_when_it_is_called_twice() {
    let stack = OwnStack::new(SLUICE);
    let (first, second) = tokio::join!(up(&stack, PAIR), up(&stack, PAIR));
    first.unwrap();
    second.unwrap();
    let before = pids(&stack, PAIR).await;
    assert_eq!(before.len(), 4, "one ClickHouse and three nodes of Redis: {before:?}");
    up(&stack, PAIR).await.unwrap();
    assert_eq!(pids(&stack, PAIR).await, before, "what is ready is left alone");
    assert_eq!(ours(&stack).len(), before.len(), "nothing else runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_store_is_seen_and_comes_back_with_its_data() {
    let stack = OwnStack::with(SLUICE, PAIR).await;
    answer(&stack, "CREATE TABLE kept (n Int64) ENGINE = MergeTree ORDER BY n").await;
    answer(&stack, "INSERT INTO kept SELECT number FROM numbers(1000)").await;
    let redis = pids(&stack, &[Service::RedisState]).await;
    kill(pids(&stack, &[Service::ClickHouse]).await[0], Signal::SIGKILL);
    eventually(SOON, "the status of a killed store", || async {
        let rows = status(stack.layout()).await.unwrap();
        rows.iter().any(|row| row.service == Service::ClickHouse && row.state == State::Died)
    })
    .await;
    up(&stack, PAIR).await.unwrap();
    assert_eq!(answer(&stack, "SELECT count() FROM kept").await.trim(), "1000");
    assert_eq!(pids(&stack, &[Service::RedisState]).await, redis, "its neighbours were left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn down_ends_what_up_started_and_no_process_that_took_its_number() {
    let stack = OwnStack::with(SLUICE, &[Service::RedisState]).await;
    let stranger = sleeper();
    // The record of a node now names a process that has the pid and another start time.
    helper::forge(&stack, "clickhouse", stranger.pid, stranger.started + 1);
    let mine = pids(&stack, &[Service::RedisState]).await;
    let ended = down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert_eq!(ended, [Service::RedisState]);
    assert!(mine.iter().all(|pid| !lives(*pid)));
    assert!(lives(stranger.pid), "a stranger was ended");
    // With its true start time it is the process of the record: the check above can tell the two apart.
    helper::forge(&stack, "clickhouse", stranger.pid, stranger.started);
    down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert!(!lives(stranger.pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_the_store_and_the_process_that_holds_it() {
    let stack = OwnStack::new(SLUICE);
    let port = stack.layout().ports().redis_state(1);
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let error = up(&stack, &[Service::RedisState]).await.unwrap_err();
    let holder = std::process::id().to_string();
    assert!(
        matches!(&error, Error::PortTaken { service: Service::RedisState, port: p, holder: h } if *p == port && h.contains(&holder))
    );
    assert!(error.to_string().contains("--port-base"), "{error}");
    assert_eq!(ours(&stack), [0; 0], "nothing was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_start_shows_its_own_last_words() {
    let stack = OwnStack::new(SLUICE);
    let folder = stack.layout().state_dir().join("redis-state-0");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("nodes.conf"), "not the file of a cluster\n").unwrap();
    let error = up(&stack, &[Service::RedisState]).await.unwrap_err();
    assert!(matches!(error, Error::Died { service: Service::RedisState, .. }), "{error}");
    assert!(error.to_string().contains("orrupted cluster config"), "{error}");
    assert_eq!(ours(&stack), [0; 0], "its neighbours were stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_during_up_leaves_nothing_half_started() {
    let stack = OwnStack::new(SLUICE);
    let mut running = sluice(&stack, &["up", "--only", "kafka"]).spawn().unwrap();
    eventually(SOON, "a broker that starts", || async { has_record(&stack, "kafka") }).await;
    kill(running.id().unwrap().cast_signed(), Signal::SIGINT);
    assert_eq!(running.wait().await.unwrap().code(), Some(130));
    eventually(SOON, "the end of the broker", || async { ours(&stack).is_empty() }).await;
    assert!(!has_record(&stack, "kafka"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_up_leaves_no_orphan_that_down_does_not_find() {
    let stack = OwnStack::new(SLUICE);
    let mut running = sluice(&stack, &["up", "--only", "kafka"]).spawn().unwrap();
    eventually(SOON, "a broker that starts", || async { !ours(&stack).is_empty() }).await;
    running.kill().await.unwrap();
    // As after the worst instant: the process is there, and its record does not name it yet.
    helper::unname(&stack, "kafka");
    down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert_eq!(ours(&stack), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wipe_removes_the_stacks_data_and_nothing_else() {
    let stack = OwnStack::with(SLUICE, &[Service::RedisState]).await;
    let state = stack.layout().state_dir().to_owned();
    down(stack.layout(), Wipe::No, &Progress::silent()).await.unwrap();
    assert!(state.join("redis-state-0/appendonlydir").exists(), "data stays without --wipe");
    let foreign = state.join("notes.txt");
    std::fs::write(&foreign, "not the stack's").unwrap();
    down(stack.layout(), Wipe::Yes, &Progress::silent()).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&state).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [foreign]);
    std::fs::remove_dir_all(state).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_waits_for_the_last_lease_and_then_stops_the_stack() {
    let stack = OwnStack::new(SLUICE);
    let held = lease(stack.layout()).await.unwrap();
    up(&stack, &[Service::RedisState]).await.unwrap();
    keeper::spawn(stack.layout(), Duration::from_millis(10)).unwrap();
    // Long enough for a keeper that ignores leases: it would have looked many times.
    up(&stack, PAIR).await.unwrap();
    assert_eq!(pids(&stack, PAIR).await.len(), 4);
    drop(held);
    eventually(SOON, "an idle stack stops", || async { ours(&stack).is_empty() }).await;
}

#[tokio::test]
async fn everything_that_the_machine_lacks_is_named_at_once() {
    let stack = OwnStack::new(SLUICE);
    let nothing = tempfile::tempdir().unwrap();
    let mut command = sluice(&stack, &["up"]);
    command.env("PATH", nothing.path()).env("SLUICE_CACHE", nothing.path()).env_remove("JAVA_HOME");
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for word in ["Java", "mvn", "npm", "pip", "openjdk-17-jre-headless", "maven", "python3-pip"] {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
    assert!(!said.contains("golang"), "only S3 needs Go: {said}");
}
