//! After a run is stopped with Ctrl-C or kill -9, no worker remains and the namespace is free for the next run. A run that is refused
//! creates nothing.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getsid},
};
use serde_json::json;
use sluice_schemas::connect;
use sluice_testkit::{InterceptingProxy, Interception, eventually};

use crate::program::{NEVER_SEALED, Program, SCENARIO, SEALED_SOON, World};

/// Waits until the worker has started and returns its process ID.
async fn wait_for_worker(run: &mut Program) -> Pid {
    let line = run.wait_for_line("ingest worker ready").await;
    let worker = Pid::from_raw(line.rsplit(' ').next().unwrap().parse().unwrap());
    assert_eq!(getsid(Some(worker)), Ok(worker), "Ctrl-C reaches only its own session");
    worker
}

async fn wait_until_exited(process: Pid) {
    eventually(Duration::from_mins(1), "the worker exits", || async move { kill(process, None).is_err() }).await;
}

#[tokio::test]
async fn an_interrupted_run_exits_with_130_and_stops_its_worker() {
    let world = World::new().await;
    let mut run = world.verify(SCENARIO);
    let worker = wait_for_worker(&mut run).await;
    kill(Pid::from_raw(run.pid()), Signal::SIGINT).unwrap();
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 130, "{output}");
    wait_until_exited(worker).await;
    assert_eq!(world.runs().len(), 0, "a partial report was written");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_run_that_is_interrupted_after_its_drive_keeps_what_it_measured() {
    let world = World::new().await;
    world.seal_after(NEVER_SEALED);
    let mut run = world.verify(SCENARIO);
    let worker = wait_for_worker(&mut run).await;
    run.wait_for_line("waiting until everything has landed").await;
    kill(Pid::from_raw(run.pid()), Signal::SIGINT).unwrap();
    let (code, output) = run.wait_for_exit().await;
    assert!(code == 130 && output.contains("its report has what the drive measured, and no account"), "{output}");
    wait_until_exited(worker).await;
    let report = world.report();
    assert_eq!((&report["verdict"], &report["account"]), (&json!("INVALID"), &json!(null)), "{output}");
    assert_eq!(report["findings"]["interrupted"], json!("waiting for its records to land"), "{output}");
    assert_eq!(report["findings"]["validity"], json!("valid"), "the generator kept up");
    assert!(report["questions"][0]["counts"]["samples"].as_u64() > Some(0), "{output}");
    world.seal_after(SEALED_SOON);
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_store_that_is_too_old_is_refused_before_anything_is_created() {
    let world = World::new().await;
    let elasticsearch = InterceptingProxy::in_front_of(&world.stores.elasticsearch.url).await;
    elasticsearch.intercept(Interception::ReplaceText("\"8.", "\"7."), "_nodes/_all/none");
    let (code, output) = world.verify_with_elasticsearch_at(&elasticsearch.url, SCENARIO).wait_for_exit().await;
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("Elasticsearch 7.") && output.contains("the oldest supported version is 8"), "{output}");
    let server = connect::clickhouse_server(&world.stores);
    let exists = server.query("SELECT count() FROM system.databases WHERE name = ?").bind(world.names.database());
    assert_eq!(exists.fetch_one::<u64>().await.unwrap(), 0, "a database was created");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_killed_run_leaves_no_worker_and_the_next_run_passes() {
    let world = World::new().await;
    let mut run = world.verify(SCENARIO);
    let worker = wait_for_worker(&mut run).await;
    kill(Pid::from_raw(run.pid()), Signal::SIGKILL).unwrap();
    wait_until_exited(worker).await;
    drop(run);
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    world.sweep_and_drop().await;
}
