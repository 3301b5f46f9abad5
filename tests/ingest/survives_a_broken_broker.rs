//! The broker stands still and goes on: for less than a session, with commits on their way, and for longer, when the group
//! has forgotten everybody by the time it answers again, and mostly its controller the broker itself, so that for a moment
//! the cluster names no broker at all. Nothing is lost or doubled, and nobody stays cut off.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_testkit::{Service, eventually};

use crate::harness::{DEADLINE, World, event_record, status};
use crate::oracle::judge;
use crate::process::short_lived;

/// Stops the broker's process, and lets it go on after so long.
async fn stand_still(world: &World, time: Duration) {
    let services = sluice_stack::status(world.layout()).await.unwrap();
    let kafka = services.iter().find(|status| status.service == Service::Kafka).unwrap();
    let pid = Pid::from_raw(kafka.pids[0]);
    kill(pid, Signal::SIGSTOP).unwrap();
    // The time is the fault itself.
    tokio::time::sleep(time).await;
    kill(pid, Signal::SIGCONT).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_costs_nothing() {
    let long = std::env::var_os("SLUICE_TEST_LONG").is_some();
    // `short_lived` has sessions of 6 s, a broker has one of 9 s with its controller.
    let times: &[u64] = if long { &[2, 3, 12, 12, 12, 12, 12, 12, 60, 600] } else { &[3, 12] };
    let world = World::alone().await;
    let producer = world.producer("lz4");
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    let mut sent = 0;
    for seconds in times {
        let records: Vec<_> = (sent..sent + 3000).map(event_record).collect();
        world.produce_all(&producer, &records).await;
        sent += 3000;
        // In the middle of it: announcements, INSERTs and offsets are on their way.
        let begun = world.count().await;
        eventually(DEADLINE, "it lands some", || async { world.count().await > begun }).await;
        stand_still(&world, Duration::from_secs(*seconds)).await;
        world.settled(sent as usize).await;
        eventually(DEADLINE, "it is ready", || async { status(&worker.url, "readyz").await == 200 }).await;
    }
    let output = worker.stop().await;
    assert!(output.contains("\"is_lost\":true"), "it lost its partitions once");
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (sent as usize, 0));
    world.drop().await;
}
