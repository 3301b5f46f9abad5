//! The command line of the bench. It imports no other module.

use std::time::Duration;

use clap::Parser;

/// Asks the same questions at the same rate with Sluice, pgbench, memtier and oha
#[derive(Debug, Parser)]
#[command(name = "generators", bin_name = "cargo bench --bench generators --")]
pub(crate) struct Options {
    /// First port of the bench's own stack
    #[arg(long, default_value_t = 29_000)]
    pub(crate) port_base: u16,
    /// Runs of each program
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Seconds of a run
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Passed by Cargo to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Length of a run.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
