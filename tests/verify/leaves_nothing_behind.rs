//! After a run is stopped with Ctrl-C or kill -9, no worker remains and the namespace is free for the next run.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sluice_testkit::eventually;

use crate::program::{Program, SCENARIO, World};

/// Waits until the worker has started and returns its process ID.
async fn wait_for_worker(run: &mut Program) -> Pid {
    let line = run.wait_for_line("ingest worker ready").await;
    Pid::from_raw(line.rsplit(' ').next().unwrap().parse().unwrap())
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
