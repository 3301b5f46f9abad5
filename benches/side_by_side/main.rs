//! Sluice beside other programs: `cargo bench --bench side_by_side`, see docs/performance.md.
//! Brings up a stack of its own, fills a topic, runs every program on it and reports what each did and cost.
//!
//! # Layout
//! - [`options`]: the command line
//! - [`world`], [`records`], [`fill`]: the stores, and what is in them
//! - [`contender`]: the programs; [`child`], [`group`], [`watch`]: what can be seen of them from outside
//! - [`race`], [`speed`], [`result`]: one run, all runs, what they showed
//! - [`refused`]: the same with rows that only ClickHouse refuses
//! - [`live`], [`latency`], [`sustained`], [`fairness`]: records that arrive at a steady rate
//! - [`memory`], [`limit`]: what `sluice ingest` has resident, and who holds it to that
//! - [`machine`], [`plot`], [`say`]: the report

mod child;
mod contender;
mod fairness;
mod fill;
mod group;
mod http;
mod latency;
mod limit;
mod live;
mod machine;
mod memory;
mod options;
mod plot;
mod race;
mod records;
mod refused;
mod result;
mod say;
mod speed;
mod sustained;
mod watch;
mod world;

use std::process::ExitCode;

use clap::Parser;

use contender::{consume, obvious};
use options::{Options, Speed, Verb};

#[tokio::main]
async fn main() -> ExitCode {
    let verb = Options::parse().verb.unwrap_or_else(|| Verb::Speed(Speed::default()));
    match run(verb).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::say(&format!("failed to {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Speed(options) => Box::pin(speed::run(&options)).await,
        Verb::Memory(options) => Box::pin(memory::run(&options)).await,
        Verb::Latency(options) => Box::pin(latency::run(&options)).await,
        Verb::Sustained(options) => Box::pin(sustained::run(&options)).await,
        Verb::Fairness(options) => Box::pin(fairness::run(&options)).await,
        Verb::Refused(options) => Box::pin(refused::run(&options)).await,
        Verb::Consume(told) => consume::child(&told),
        Verb::Obvious(told) => Box::pin(obvious::child(&told)).await,
    }
}
