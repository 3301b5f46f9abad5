//! A drive stops immediately when it is cancelled, and its acknowledged counts match Kafka and PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use sluice_loadgen::drive::{self, Phase, Progress};
use sluice_loadgen::plan::Plan;
use sluice_loadgen::population::Population;
use sluice_loadgen::run_context::RunContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A deadline below the minute for which a drive that is not stopped waits for its last acknowledgements and commits.
const STOPS_WITHIN: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_drive_flushes_and_reports_what_was_acknowledged() {
    let (mut world, _) = World::loaded().await;
    // Long enough that only the stop can end it, with more records than are prepared in advance.
    world.scenario.duration = Duration::from_hours(1);
    world.scenario.communications = 20_000;
    world.plan = Arc::new(Plan::new(&world.scenario, &Population::new(&world.scenario)));
    let stop = CancellationToken::new();
    let (progress, mut seen) = watch::channel(Arc::<Progress>::default());
    let context = RunContext::new(&world.stores, &world.names, &world.scenario, &world.plan);
    let is_writing = |progress: &Arc<Progress>| progress.phase == Phase::Driving && progress.acknowledged.metrics > 0;
    let stop_while_writing = async {
        seen.wait_for(is_writing).await.unwrap();
        stop.cancel();
    };
    let stopped = async { tokio::join!(drive::drive(context, &stop, &progress), stop_while_writing).0 };
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(STOPS_WITHIN).await;
    };
    let driven = tokio::select! {
        driven = stopped => driven.unwrap(),
        () = deadline => panic!("the drive goes on after its stop"),
    };
    assert!(driven.stopped && driven.lost.sentences().is_empty());

    let account = world.account(&driven.acknowledged).await;
    let offsets: u64 = account.provenance.iter().map(|table| table.offsets).sum();
    let produced: u64 =
        driven.acknowledged.iter().map(|totals| totals.events + totals.interactions + totals.metrics).sum();
    assert_eq!(offsets, produced);
    assert!(!account.is_balanced(), "a stopped run is incomplete");
    world.drop_namespace().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_load_reports_the_stop() {
    let (world, _) = World::loaded().await;
    let stop = CancellationToken::new();
    stop.cancel();
    let loaded = world.load_into(&world.stores, &stop, &|_, _| ()).await;
    assert_eq!(loaded.unwrap_err().to_string(), "load the stores: stopped");
    world.drop_namespace().await;
}
