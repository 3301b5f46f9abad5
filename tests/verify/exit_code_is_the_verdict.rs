//! The exit code is 0 if every SLO is met and the account is exact, 1 if a row is missing or unexpected, 2 if there are too few
//! samples for a verdict, and 3 if the run cannot start. The failing runs are the negative controls of the passing one.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_testkit::TcpProxy;

use crate::program::{SCENARIO, World};

const READY: &str = "ingest worker ready";

#[tokio::test]
async fn two_runs_in_sequence_in_one_namespace_pass() {
    let world = World::new().await;
    for _ in 0..2 {
        let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
        assert_eq!(code, 0, "{output}");
        let report = world.report();
        assert_eq!(report["verdict"], "PASS");
        assert_eq!(report["findings"]["failures"], serde_json::json!([]));
        let share = |name: &str| report["generator"][name].as_f64().expect("the system tells the shares of processors");
        assert!(share("processor_share") > 0.0 && share("steal_share") >= 0.0, "{}", report["generator"]);
        let versions = report["run"]["stores"].as_object().unwrap();
        let tell: Vec<&str> = versions.keys().map(String::as_str).collect();
        let stores = ["clickhouse", "connect", "elasticsearch", "kafka", "postgres", "redis-cache", "redis-state"];
        assert_eq!(tell, stores, "every store tells its version");
        assert!(report["account"]["ledgers"].as_array().is_some_and(|ledgers| ledgers.len() > 10));
    }
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_duplicate_row_fails_the_run() {
    let world = World::new().await;
    let mut run = world.verify(SCENARIO);
    run.wait_for_line(READY).await;
    world.clickhouse("INSERT INTO customer_interactions SELECT * FROM customer_interactions LIMIT 1").await;
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("does not balance"), "{output}");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_worker_that_dies_fails_the_run_and_is_named_at_once() {
    let world = World::new().await;
    let mut run = world.verify(SCENARIO);
    let ready = run.wait_for_line(READY).await;
    let worker: i32 = ready.rsplit_once("process ").unwrap().1.trim().parse().unwrap();
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    run.wait_for_line("warning: the ingest worker has exited").await;
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("the ingest worker has exited, so nothing more lands"), "{output}");
    let report = world.report();
    let failures = report["findings"]["failures"].as_array().unwrap();
    let of_worker: Vec<_> = failures.iter().filter(|one| one.as_str().unwrap().contains("the ingest worker")).collect();
    assert_eq!(of_worker.len(), 1, "{failures:#?}");
    assert!(of_worker[0].as_str().unwrap().contains("ended before the run did: signal: 9"), "{failures:#?}");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_missing_row_fails_the_run() {
    let world = World::new().await;
    let mut run = world.verify(SCENARIO);
    run.wait_for_line(READY).await;
    let first_id = "SELECT event_id FROM communication_events ORDER BY event_id LIMIT 1";
    let delete =
        format!("ALTER TABLE communication_events DELETE WHERE event_id IN ({first_id}) SETTINGS mutations_sync = 1");
    world.clickhouse(&delete).await;
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_store_that_becomes_unavailable_fails_the_run() {
    let world = World::new().await;
    let mut proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let scenario = SCENARIO.replace("settle = \"30 s\"", "settle = \"5 s\"");
    // The proxy is closed before the first dashboard that is measured.
    let scenario = scenario.replace("warm_up = \"1 s\"", "warm_up = \"10 s\"");
    let mut run = world.verify_against(&proxy.url, &scenario);
    run.wait_for_line(READY).await;
    proxy.close();
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    let report = world.report();
    assert_eq!(report["verdict"], "FAIL");
    assert!(report["findings"]["failures"].to_string().contains("ClickHouse"), "{}", report["findings"]["failures"]);
    let latency = |name: &str| {
        let slos = report["findings"]["slos"].as_array().unwrap();
        slos.iter().find(|slo| slo["slo"]["name"] == name).unwrap()["latency"]["p50_us"].clone()
    };
    assert!(latency("analytics").is_null(), "a missing response does not count as a response in zero time: {report}");
    assert!(latency("search").is_u64(), "the other stores responded");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn too_few_samples_for_an_availability_that_blocks_are_inconclusive() {
    let world = World::new().await;
    let blocking = SCENARIO.replace(r#"undecided = "allow""#, r#"undecided = "block""#);
    assert_ne!(blocking, SCENARIO);
    let (code, output) = world.verify(&blocking).wait_for_exit().await;
    assert_eq!(code, 2, "{output}");
    assert_eq!(world.report()["verdict"], "INCONCLUSIVE");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_second_run_in_the_same_namespace_is_refused() {
    let world = World::new().await;
    let mut first = world.verify(SCENARIO);
    first.wait_for_line("schema objects applied").await;
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 3, "{output}");
    assert!(output.contains("another run is using it"), "{output}");
    let (code, output) = first.wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    world.sweep_and_drop().await;
}
