//! A run whose generator is at fault is INVALID and exits with 3; one whose store is at fault fails and exits with 1. The
//! same scenario without a fault passes, see `exit_code_is_the_verdict`.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use sluice_stack::status;
use sluice_testkit::{OwnStack, ProxyMode, Service, TcpProxy};

use crate::program::{Program, SCENARIO, World};

/// A drive that is long enough to report its progress, with limits that leave the generator 100 ms.
fn longer() -> String {
    let scenario = SCENARIO.replace("replayed_in = \"4 s\"", "replayed_in = \"14 s\"");
    let scenario = scenario.replace("within = \"8 s\"", "within = \"1 s\"");
    assert!(scenario.contains("14 s") && scenario.contains("\"1 s\""));
    scenario
}

/// Suspends a process for `time`.
async fn suspend(process: i32, time: Duration) {
    let process = Pid::from_raw(process);
    kill(process, Signal::SIGSTOP).unwrap();
    // The fault lasts this long.
    tokio::time::sleep(time).await;
    kill(process, Signal::SIGCONT).unwrap();
}

async fn wait_until_driving(run: &mut Program) {
    run.wait_for_line("driving, ").await;
}

/// The run exits with 3, and its report contains this reason.
async fn assert_invalid(world: World, run: Program, reason: &str) {
    let (code, output) = run.wait_for_exit().await;
    let report = world.report();
    assert_eq!(code, 3, "{output}\n{}", report["findings"]);
    assert_eq!(report["verdict"], "INVALID");
    let reasons = report["findings"]["validity"]["invalid"].to_string();
    assert!(reasons.contains(reason), "{reasons}");
    world.sweep_and_drop().await;
}

/// A run with an injected fault exits with 3, and its report contains this reason.
async fn assert_fault_is_invalid(fault: &str, reason: &str) {
    let world = World::new().await;
    let run = world.verify_with_fault(fault);
    assert_invalid(world, run, reason).await;
}

#[tokio::test]
async fn a_suspended_generator_sends_late() {
    let world = World::new().await;
    let mut run = world.verify(&longer());
    wait_until_driving(&mut run).await;
    suspend(run.pid(), Duration::from_secs(2)).await;
    assert_invalid(world, run, "were sent more than").await;
}

#[tokio::test]
async fn a_generator_without_processors_is_starved() {
    let world = World::new().await;
    let mut run = world.verify(&longer().replace("14 s", "24 s"));
    wait_until_driving(&mut run).await;
    for _ in 0..30 {
        suspend(run.pid(), Duration::from_millis(150)).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_invalid(world, run, "tasks waited more than").await;
}

#[tokio::test]
async fn a_clock_that_jumps_makes_the_run_invalid() {
    assert_fault_is_invalid("jump_clock", "the system clock jumped by 2.0 s").await;
}

#[tokio::test]
async fn a_rate_that_the_generator_misses_makes_the_run_invalid() {
    assert_fault_is_invalid("skip_probes", "probes were never started").await;
}

#[tokio::test]
async fn a_generator_that_uses_the_machine_makes_the_run_invalid() {
    assert_fault_is_invalid("use_processors", "the generator used 90 % of all processors itself").await;
}

#[tokio::test]
async fn a_machine_that_loses_its_processors_makes_the_run_invalid() {
    assert_fault_is_invalid("lose_processors", "the hypervisor took 20 % of all processors").await;
}

/// PostgreSQL answers late, so one connection can't ask 40 questions a second, while the store itself is in time.
#[tokio::test]
async fn a_pool_that_is_too_small_makes_the_run_invalid() {
    let world = World::new().await;
    let mut stores = world.stores.clone();
    TcpProxy::in_front_of_postgres(&mut stores).await.set_mode(ProxyMode::Delayed(Duration::from_millis(50)));
    let scenario = format!("{}\n[connections]\npostgres = 1\n", longer());
    let run = world.verify_with_postgres_of(&stores, &scenario);
    assert_invalid(world, run, "raise `connections.postgres` of the scenario").await;
}

/// PostgreSQL answers late, so one connection can't commit what is due, and much is never written. Neither is PostgreSQL's fault, nor is
/// anything lost.
#[tokio::test]
async fn too_few_writers_make_the_run_invalid() {
    let world = World::new().await;
    let mut stores = world.stores.clone();
    let postgres = TcpProxy::in_front_of_postgres(&mut stores).await;
    let scenario = longer().replace("communications = 400", "communications = 1_200");
    let scenario = format!("{scenario}\n[connections]\npostgres_writers = 1\n");
    let mut run = world.verify_with_postgres_of(&stores, &scenario);
    run.wait_for_line("ingest worker ready").await;
    postgres.set_mode(ProxyMode::Delayed(Duration::from_millis(90)));
    run.wait_for_line("driven for").await;
    postgres.set_mode(ProxyMode::Delayed(Duration::ZERO));
    assert_invalid(world, run, "raise `connections.postgres_writers` of the scenario").await;
}

/// The negative control: what a store does is no excuse.
#[tokio::test]
async fn a_suspended_store_fails_the_run() {
    let world = World::new().await;
    let own = OwnStack::with(env!("CARGO_BIN_EXE_sluice"), &[Service::ClickHouse]).await;
    let clickhouse = own.stores(&world.names).clickhouse.url;
    // Dashboards time out after a second, as they would for a user.
    let scenario = longer().replace("clickhouse = \"9 s\"", "clickhouse = \"1 s\"");
    let mut run = world.verify_against(&clickhouse, &scenario);
    wait_until_driving(&mut run).await;
    let services = status(own.layout()).await.unwrap();
    let server = services.iter().find(|status| status.service == Service::ClickHouse).unwrap();
    suspend(server.pids[0], Duration::from_secs(4)).await;
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    let report = world.report();
    assert_eq!((&report["verdict"], &report["findings"]["validity"]), (&json!("FAIL"), &json!("valid")), "{output}");
    let availability = report["findings"]["availability"].as_array().unwrap();
    let failed: Vec<_> = availability.iter().filter(|one| one["verdict"] == "FAIL").map(|one| &one["store"]).collect();
    assert_eq!(failed, ["ClickHouse"], "{output}");
    world.sweep_and_drop().await;
}
