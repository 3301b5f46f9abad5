//! Compares Sluice with other programs: `cargo bench --bench side_by_side`, see docs/performance.md.
//! It starts its own stack, fills a topic, runs every program on it and reports the throughput and cost of each.
//!
//! # Layout
//! Modules import only modules above them in this list.
//! - [`output`], [`figures`], [`plot`], [`proc`], [`options`]: printing, reports, `/proc`, the command line
//! - [`child`], [`limit`]: a program in a process, its memory limit
//! - [`testbed`], [`machine`], [`http`], [`records`], [`fill`], [`group`]: the stores and their contents
//! - [`trial`], [`contender`], [`measure`]: one run, the programs, measuring one program
//! - [`result`], [`speed`], [`refused`]: all runs, also with rows that ClickHouse refuses
//! - [`live`], [`latency`], [`sustained`], [`fairness`]: records that arrive at a steady rate
//! - [`memory`]: resident memory of `sluice ingest`

mod child;
mod contender;
mod fairness;
mod figures;
mod fill;
mod group;
mod http;
mod latency;
mod limit;
mod live;
mod machine;
mod measure;
mod memory;
mod options;
mod output;
mod plot;
mod proc;
mod records;
mod refused;
mod result;
mod speed;
mod sustained;
mod testbed;
mod trial;

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
            output::progress(&format!("failed to {error:#}"));
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
        Verb::Consume(options) => consume::child(&options),
        Verb::Obvious(options) => Box::pin(obvious::child(&options)).await,
    }
}
