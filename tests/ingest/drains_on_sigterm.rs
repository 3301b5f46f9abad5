//! The real program, told to end as an orchestrator does it: what was taken in lands and is committed, then it exits 0.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_schemas::names::topic;
use sluice_testkit::eventually;
use tokio::process::Command;

use crate::harness::{DEADLINE, World, event_record, metric, quick_settings, status};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_program_with_everything_written_and_committed() {
    let world = World::new().await;
    let listen = quick_settings().listen.to_string();
    let url = format!("http://{listen}");
    // The ADR's thirty seconds are not over when it is told to end.
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
    eventually(DEADLINE, "records are taken in", || async {
        metric(&url, "sluice_ingest_bytes_in_flight{", "communication-events").await > 0.0
    })
    .await;
    assert_eq!(world.count().await, 0, "negative control: nothing was due yet");

    kill(Pid::from_raw(i32::try_from(program.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let output = program.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let landed = world.count().await;
    assert!(landed > 0 && said.contains(&format!("consumed {landed}, landed {landed}, dead-lettered 0")), "{said}");
    assert_eq!(world.committed(topic::COMMUNICATION_EVENTS).await, i64::try_from(landed).unwrap());
    world.drop().await;
}
