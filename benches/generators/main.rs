//! Load generators side by side: `cargo bench --bench generators`, see docs/measuring.md. In every round each program asks
//! the same question of the same store at the same rate, with as many connections; what it says of the latency, and
//! what it costs, is compared. Programs that are not on the PATH are named and left out. It starts its own stack.
//!
//! # Layout
//! Modules import only modules above them in this list.
//! - [`options`]: the command line
//! - [`asked`]: the stores, what they hold and what is asked of them
//! - [`outcome`]: what one run of a program says
//! - [`sluice`], [`pgbench`], [`memtier`], [`oha`]: the programs
//! - [`rounds`]: all runs, and their table

mod asked;
#[path = "../side_by_side/figures.rs"]
#[expect(dead_code, reason = "side_by_side writes files with it as well")]
mod figures;
mod memtier;
mod oha;
mod options;
mod outcome;
#[path = "../side_by_side/output.rs"]
mod output;
mod pgbench;
mod rounds;
mod sluice;

use std::process::ExitCode;

use clap::Parser;

use options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match rounds::run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::progress(&format!("failed to {error:#}"));
            ExitCode::FAILURE
        }
    }
}
