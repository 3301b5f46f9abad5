//! `sluice capacity` decides each rate, says what gave way, and leaves nothing behind when it is stopped.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::program::{NEVER_SEALED, SCENARIO, World, read_json};

/// The lowest rate that is tried, so that a search in which it fails ends after one step.
const LOWEST: [&str; 6] = ["--from", "0.0625", "--hold", "5s", "--confirm", "20s"];

fn capacity<'a>(of: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let verb = ["capacity", "scenario.toml", "--no-up", "--of", of];
    [&verb[..], &LOWEST[..], more].concat()
}

#[tokio::test]
async fn records_that_do_not_land_fail_a_rate_although_every_slo_holds() {
    let world = World::new().await;
    world.seal_after(NEVER_SEALED);
    let (code, output) = world.run(&capacity("writes", &["--growth", "3 %/month"]), SCENARIO).wait_for_exit().await;
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("writes: fails even at 0.06x"), "{output}");
    let run = world.runs().pop().unwrap();
    let search = &read_json(&run.join("capacity.json"))["searches"][0];
    assert_eq!(search["steps"].as_array().unwrap().len(), 1, "{search:#}");
    assert!(search["reasons"][0].as_str().unwrap().contains("never landed"), "{search:#}");
    assert_eq!(search["steps"][0]["observed"]["unread"], serde_json::json!([]), "every store was read: {search:#}");
    assert!(std::fs::read_to_string(run.join("capacity.html")).unwrap().contains("fails even at 0.06x"));
    world.sweep_and_drop().await;
}

/// The scenario with a 256th of its load: the highest rate that a search tries is the scenario's own.
fn light() -> String {
    let rates = [("\"40/s\"", "\"0.16/s\""), ("\"30/s\"", "\"0.12/s\""), ("\"10/s\"", "\"0.04/s\"")];
    let light = rates.iter().fold(SCENARIO.to_owned(), |text, (from, to)| text.replace(from, to));
    // In 25 minutes, its samples can pass at its own rate, at which no step is held.
    let light = light.replace("replayed_in = \"4 s\"", "replayed_in = \"25 min\"");
    light.replace("communications = 400", "communications = 586")
}

#[tokio::test]
async fn the_highest_rate_that_passes_is_confirmed_with_its_account() {
    let world = World::new().await;
    let search = ["capacity", "scenario.toml", "--no-up", "--of", "mix", "--growth", "3 %/month"];
    let rates = ["--from", "256", "--hold", "5s", "--confirm", "5s"];
    let (code, output) = world.run(&[&search[..], &rates[..]].concat(), &light()).wait_for_exit().await;
    assert_eq!(code, 0, "{output}");
    let run = world.runs().pop().unwrap();
    let search = &read_json(&run.join("capacity.json"))["searches"][0];
    let steps = search["steps"].as_array().unwrap();
    let held: Vec<_> = steps.iter().map(|step| (&step["hold"], &step["outcome"])).collect();
    assert_eq!(held, [(&json!("step"), &json!("passed")), (&json!("confirm"), &json!("passed"))], "{search:#}");
    // 0.16 + 0.16 + ... questions a second, 256 times.
    let questions = search["rates"][0].as_f64().unwrap();
    assert!((200.0..300.0).contains(&questions), "{questions}");
    let used = &steps[0]["observed"]["machine"]["processors"];
    assert!(used["postgres"].as_f64().unwrap() > 0.0 && used["generator"].as_f64().unwrap() > 0.0, "{used}");
    assert!(std::fs::read_to_string(run.join("capacity.html")).unwrap().contains("the headroom ends on"));
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_search_that_is_interrupted_in_its_first_step_leaves_no_report() {
    let world = World::new().await;
    let mut run = world.run(&capacity("writes", &[]), SCENARIO);
    run.wait_for_line("writes: trying 0.06x").await;
    kill(Pid::from_raw(run.pid()), Signal::SIGINT).unwrap();
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 130, "{output}");
    assert_eq!(world.runs().len(), 0, "a partial report was written");
    world.sweep_and_drop().await;
}

/// The scenario with an SLO that no dashboard is fast enough for, so that no rate passes.
fn never_fast() -> String {
    let [dashboards, faster] = ["8 s", "1 ms"].map(|limit| format!("within = \"{limit}\"\nquestions = [\"dashboard"));
    let scenario = SCENARIO.replace(&dashboards, &faster);
    assert_ne!(scenario, SCENARIO);
    scenario
}

#[tokio::test]
async fn searches_that_are_interrupted_keep_those_that_are_finished() {
    let world = World::new().await;
    let mut run = world.run(&capacity("writes,postgres", &[]), &never_fast());
    run.wait_for_line("postgres: trying 0.06x").await;
    kill(Pid::from_raw(run.pid()), Signal::SIGINT).unwrap();
    let (code, output) = run.wait_for_exit().await;
    assert!(code == 130 && output.contains("the report has the steps that were done"), "{output}");
    let report = read_json(&world.runs().pop().unwrap().join("capacity.json"));
    let subjects: Vec<_> = report["searches"].as_array().unwrap().iter().map(|search| &search["subject"]).collect();
    assert_eq!(subjects, [&json!("writes")], "{output}");
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_search_that_is_interrupted_later_keeps_its_steps() {
    let world = World::new().await;
    let search = ["capacity", "scenario.toml", "--no-up", "--of", "writes"];
    let rates = ["--from", "0.125", "--hold", "5s", "--confirm", "20s"];
    let mut run = world.run(&[&search[..], &rates[..]].concat(), &never_fast());
    run.wait_for_line("writes: trying 0.06x").await;
    kill(Pid::from_raw(run.pid()), Signal::SIGINT).unwrap();
    let (code, output) = run.wait_for_exit().await;
    assert!(code == 130 && output.contains("writes: interrupted"), "{output}");
    let run = world.runs().pop().unwrap();
    let search = &read_json(&run.join("capacity.json"))["searches"][0];
    // On a machine that is too busy for so tight an SLO, the generator gives way first, twice.
    assert!(!search["steps"].as_array().unwrap().is_empty() && search["rates"].is_null(), "{search:#}");
    assert!(std::fs::read_to_string(run.join("capacity.html")).unwrap().contains("interrupted"));
    world.sweep_and_drop().await;
}

#[tokio::test]
async fn a_search_whose_ingest_worker_dies_ends_without_a_result() {
    let world = World::new().await;
    let mut run = world.run(&capacity("writes", &[]), SCENARIO);
    let ready = run.wait_for_line("ingest worker ready").await;
    let worker: i32 = ready.rsplit_once("process ").unwrap().1.trim().parse().unwrap();
    run.wait_for_line("writes: trying 0.06x").await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    let (code, output) = run.wait_for_exit().await;
    assert_eq!(code, 3, "{output}");
    assert!(output.contains("failed to keep the ingest worker running: it exited with signal: 9"), "{output}");
    assert!(!output.contains("fails even"), "a dead worker is no limit of a store: {output}");
    world.sweep_and_drop().await;
}
