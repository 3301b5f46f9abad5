//! `sluice verify --baseline` compares a run with an earlier one: one that passes and is worse exits with 1.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_testkit::{ProxyMode, TcpProxy};

use crate::program::{SCENARIO, World, read_json};

/// Added to each response of ClickHouse: far more than a quick dashboard takes, and far below the limits.
const DELAY: Duration = Duration::from_secs(3);
/// A baseline in which dashboards are quick has this 95th percentile at most, in microseconds.
const QUICK: u64 = 1_000_000;
/// Runs in which dashboards may be slow by themselves.
const MAX_RUNS: usize = 5;

/// Runs until dashboards are quick: on a busy machine, they may be slow by themselves. Returns the folder of the run.
async fn quick_run(world: &World) -> PathBuf {
    for _ in 0..MAX_RUNS {
        let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
        assert_eq!(code, 0, "{output}");
        let report = world.report();
        let slos = report["findings"]["slos"].as_array().unwrap();
        let analytics = slos.iter().find(|judged| judged["slo"]["name"] == "analytics").unwrap();
        if analytics["latency"]["p95_us"].as_u64() < Some(QUICK) {
            return world.runs().pop().unwrap();
        }
    }
    panic!("dashboards were slow in each of {MAX_RUNS} runs: {}", world.report()["findings"]["slos"]);
}

/// What a comparison says about the 95th percentile of a dashboard.
fn change(comparison: &Value) -> &Value {
    let is_it = |one: &&Value| one["subject"] == "dashboard_events" && one["quantity"] == "p95";
    &comparison["compared"].as_array().unwrap().iter().find(is_it).unwrap()["change"]
}

#[tokio::test]
async fn a_run_that_passes_and_is_slower_than_its_baseline_exits_with_1() {
    let world = World::new().await;
    let baseline = quick_run(&world).await;
    let baseline = baseline.to_str().unwrap();

    let renamed = SCENARIO.replacen("name = \"", "name = \"another-", 1);
    let verify = ["verify", "scenario.toml", "--no-up", "--baseline", baseline];
    let (code, output) = world.run(&verify, &renamed).wait_for_exit().await;
    assert_eq!(code, 4, "{output}");
    assert!(output.contains("are different scenarios; name runs of one scenario"), "{output}");

    let proxy = TcpProxy::start(&world.stores.clickhouse.url).await;
    let verify = ["verify", "scenario.toml", "--no-up", "--baseline", baseline];
    let mut run = world.run_against(&proxy.url, &verify, SCENARIO);
    // The start of the worker has a limit of its own, and the account needs many requests.
    run.wait_for_line("ingest worker ready").await;
    proxy.set_mode(ProxyMode::Delayed(DELAY));
    run.wait_for_line("driven for").await;
    proxy.set_mode(ProxyMode::Delayed(Duration::ZERO));
    let (code, output) = run.wait_for_exit().await;
    assert_eq!((code, &world.report()["verdict"]), (1, &json!("PASS")), "{output}");
    let run = world.runs().pop().unwrap();
    let comparison = read_json(&run.join("comparison.json"));
    assert_eq!((&comparison["outcome"], change(&comparison)), (&json!("worse"), &json!("worse")), "{comparison:#}");

    // Negative control: a run that measured the same is not worse.
    let compare = |a: &str, b: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .current_dir(world.folder.path())
            .args(["compare", a, b, "--format", "json"])
            .output()
            .unwrap();
        (output.status.code().unwrap(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let mut equal = read_json(&PathBuf::from(baseline).join("report.json"));
    equal["run"]["started_at"] = json!("2026-11-29T00:00:00Z");
    std::fs::write(world.folder.path().join("equal.json"), equal.to_string()).unwrap();
    let (code, same) = compare(baseline, "equal.json");
    assert_ne!((code, &same["outcome"]), (1, &json!("worse")), "{same:#}");
    let (_, faster) = compare(run.to_str().unwrap(), baseline);
    assert_eq!(change(&faster), "better", "{faster:#}");
    world.sweep_and_drop().await;
}
