//! The broker is suspended and resumed, with commits in flight, for less and for longer than a session. After the longer time,
//! all members of the group have expired when the broker responds again, and usually the controller has fenced the broker, so
//! that the cluster has no broker for a moment. Nothing is lost or duplicated, and no worker stays disconnected.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_testkit::{Service, eventually};

use crate::harness::{DEADLINE, World, event_record, status};
use crate::oracle::judge;
use crate::process::short_lived;

/// Suspends the broker's process for `time`.
async fn suspend(world: &World, time: Duration) {
    let services = sluice_stack::status(world.layout()).await.unwrap();
    let kafka = services.iter().find(|status| status.service == Service::Kafka).unwrap();
    let pid = Pid::from_raw(kafka.pids[0]);
    kill(pid, Signal::SIGSTOP).unwrap();
    // The fault lasts this long.
    tokio::time::sleep(time).await;
    kill(pid, Signal::SIGCONT).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_broker_loses_nothing() {
    let long = std::env::var_os("SLUICE_TEST_LONG").is_some();
    // `short_lived` has sessions of 6 s; a broker's session with its controller is 9 s.
    let times: &[u64] = if long { &[2, 3, 12, 12, 12, 12, 12, 12, 60, 600] } else { &[3, 12] };
    let world = World::on_own_stack().await;
    let producer = world.producer("lz4");
    let settings = short_lived();
    let worker = world.spawn_ready(&settings, &[]).await;
    let mut sent = 0;
    for seconds in times {
        let records: Vec<_> = (sent..sent + 3000).map(event_record).collect();
        world.produce_all(&producer, &records).await;
        sent += 3000;
        // Announcements, INSERTs and offset commits are in flight.
        let before = world.count().await;
        eventually(DEADLINE, "some records land", || async { world.count().await > before }).await;
        suspend(&world, Duration::from_secs(*seconds)).await;
        world.wait_until_processed(sent as usize).await;
        eventually(DEADLINE, "the worker is ready", || async { status(&worker.url, "readyz").await == 200 }).await;
    }
    let output = worker.stop().await;
    assert!(output.contains("\"is_lost\":true"), "the worker lost its partitions at least once");
    let counts = judge(&world).await.unwrap();
    assert_eq!((counts.records, counts.dead_lettered), (sent as usize, 0));
    world.drop_namespace().await;
}
