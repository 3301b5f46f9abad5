//! Two shards of a scenario, driven side by side by two processes in one namespace against one worker, write and ask what one
//! process would: the same plan digest, the same account. Shards that do not fit together are refused.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::program::{Program, SCENARIO, World, read_json};

impl World {
    fn shard(&self, shard: &str, scenario: &str) -> Program {
        self.run(&["verify", "scenario.toml", "--no-up", "--shard", shard], scenario)
    }
}

fn read(run: &Path) -> Value {
    read_json(&run.join("report.json"))
}

/// Counts of the account by store, kind, origin and tenant.
fn ledgers(report: &Value) -> BTreeSet<String> {
    report["account"]["ledgers"].as_array().unwrap().iter().map(Value::to_string).collect()
}

#[tokio::test]
async fn two_shards_give_the_account_and_the_digest_of_one_run() {
    let world = World::new().await;
    let (code, output) = world.verify(SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let whole = read(&world.reported()[0]);
    let [first, second] = ["1/2", "2/2"].map(|shard| world.shard(shard, SCENARIO));
    let ((one, said_one), (two, said_two)) = tokio::join!(first.wait_for_exit(), second.wait_for_exit());
    assert!([one, two].iter().all(|code| [0, 2].contains(code)), "{one}: {said_one}\n{two}: {said_two}");
    let shards: Vec<String> = world.reported()[1..].iter().map(|run| run.display().to_string()).collect();
    assert_eq!(shards.len(), 2);
    let (code, output) = world.run(&["report", "merge", &shards[1], &shards[0]], SCENARIO).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let merged = read(world.reported().last().unwrap());
    assert_eq!((&merged["run"]["digest"], &merged["verdict"]), (&whole["run"]["digest"], &whole["verdict"]));
    assert_eq!(ledgers(&merged), ledgers(&whole));
    for (merged, whole) in merged["questions"].as_array().unwrap().iter().zip(whole["questions"].as_array().unwrap()) {
        assert_eq!(merged["counts"]["samples"], whole["counts"]["samples"], "{}", merged["question"]);
    }
    let written = |report: &Value| report["rates"][0]["produced"].as_u64().unwrap();
    let parts: Vec<u64> = shards.iter().map(|run| written(&read(run.as_ref()))).collect();
    assert!(parts.iter().all(|part| *part > 0) && parts.iter().sum::<u64>() == written(&whole), "{parts:?}");
    // A report is never lost to another one; the same one may be written again.
    let merge = |folder: &str| world.run(&["report", "merge", &shards[0], &shards[1], "--output", folder], SCENARIO);
    for _ in 0..2 {
        let (code, output) = merge("merged").wait_for_exit().await;
        assert_eq!(code, 0, "{output}");
    }
    let (code, output) = merge(&shards[0]).wait_for_exit().await;
    assert!(code == 4 && output.contains("it holds the report of a run, which would be lost"), "{output}");
    // The negative control: one shard is not the whole.
    let (code, output) = world.run(&["report", "merge", &shards[0]], SCENARIO).wait_for_exit().await;
    assert!(code == 4 && output.contains("these are missing: 2"), "{output}");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_shard_that_is_left_alone_ends_its_drive() {
    let world = World::new().await;
    let long = SCENARIO.replace("replayed_in = \"4 s\"", "replayed_in = \"20 min\"");
    let [mut first, mut second] = ["1/2", "2/2"].map(|shard| world.shard(shard, &long));
    tokio::join!(first.wait_for_line("driving, "), second.wait_for_line("driving, "));
    kill(Pid::from_raw(first.pid()), Signal::SIGKILL).unwrap();
    let (code, output) = second.wait_for_exit().await;
    assert!(code == 3 && output.contains("drive as shard 2/2: the run of the first shard has ended"), "{output}");
    first.wait_until_exited().await;
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_shard_of_another_plan_is_refused() {
    let world = World::new().await;
    let mut first = world.shard("1/2", SCENARIO);
    first.wait_for_line("records loaded").await;
    let other = world.shard("2/2", &SCENARIO.replace("data = 11", "data = 12"));
    let (code, output) = other.wait_for_exit().await;
    assert!(code == 4 && output.contains("`seeds.data` 12, not 11"), "{output}");
    let (code, output) = world.shard("2/3", SCENARIO).wait_for_exit().await;
    assert!(code == 4 && output.contains("number of shards 3, not 2"), "{output}");
    drop(first);
    world.sweep_and_drop().await;
}
