//! What the load generator costs and how exactly it keeps to its schedule, against a target that answers at once:
//! operations per second of processor time with every histogram on, memory over a hundred million operations, and the
//! send lag at 2,000 operations a second. Run with `cargo bench --bench generator`, on an idle machine; with `long`, a
//! hundred million operations instead of ten. It starts no store.

#![expect(clippy::print_stdout, reason = "a bench prints its result")]

#[path = "side_by_side/proc.rs"]
#[expect(dead_code, reason = "the side-by-side runs look at other processes too")]
mod proc;

use std::time::Duration;

use anyhow::Context;
use sluice_loadgen::drive::null;
use sluice_loadgen::number::separated;
use sluice_loadgen::scenario::Scenario;

/// Operations of the measurement of speed and memory.
const OPERATIONS: u64 = 10_000_000;
/// The same with `long`.
const OPERATIONS_LONG: u64 = 100_000_000;
/// Number of drives of each kind.
const ROUNDS: usize = 3;
/// Rate and length of the measurement of the send lag.
const PACED: (f64, Duration) = (2_000.0, Duration::from_secs(20));

fn main() -> anyhow::Result<()> {
    let operations = if std::env::args().any(|argument| argument == "long") { OPERATIONS_LONG } else { OPERATIONS };
    for _ in 0..ROUNDS {
        speed(operations)?;
    }
    for _ in 0..ROUNDS {
        lag()?;
    }
    Ok(())
}

/// All operations are due within a second, so they are started as fast as the loop can.
fn speed(operations: u64) -> anyhow::Result<()> {
    let before = proc::own_cpu(std::process::id()).context("read /proc/self/stat")?;
    let driven = null::drive(&scenario(operations as f64, Duration::from_secs(1))?)?;
    let cpu = proc::own_cpu(std::process::id()).context("read /proc/self/stat")?.saturating_sub(before);
    println!(
        "{} operations in {:.1} s, {} held back: {} per second of processor time, peak memory {} MiB",
        separated(driven.operations),
        driven.took.as_secs_f64(),
        separated(driven.held_back),
        separated((driven.operations as f64 / cpu.as_secs_f64()) as u64),
        proc::peak(std::process::id()).context("read /proc/self/status")? >> 20
    );
    Ok(())
}

fn lag() -> anyhow::Result<()> {
    let (rate, length) = PACED;
    let driven = null::drive(&scenario(rate, length)?)?;
    let lag = |quantile| driven.lag.quantile(quantile).unwrap_or_default().as_micros();
    println!(
        "{} operations at {rate}/s: sent {} us late (p50), {} us (p99), {} us (p99.9), {} us (max)",
        separated(driven.operations),
        lag(0.5),
        lag(0.99),
        lag(0.999),
        lag(1.0)
    );
    Ok(())
}

/// The smoke scenario with that rate over all questions.
fn scenario(rate: f64, length: Duration) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::parse(include_str!("../scenarios/smoke.toml"), "smoke.toml")?;
    let all: f64 = scenario.probes.values().sum();
    scenario.probes.values_mut().for_each(|each| *each *= rate / all);
    scenario.duration = length;
    Ok(scenario)
}
