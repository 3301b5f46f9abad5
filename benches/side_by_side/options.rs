//! The bench's command line.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::contender::consume::Consume;
use crate::contender::obvious::Obvious;
use crate::contender::other::Other;

/// Sluice beside other programs, on the same topic, tables and machine
#[derive(Debug, Parser)]
#[command(name = "side_by_side", bin_name = "cargo bench --bench side_by_side --")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// Cargo says so to every bench
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// What to measure; without a word, the speed.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Events per second of every program, one after the other, several rounds
    Speed(Speed),
    /// Memory of `sluice ingest` with a backlog, also while ClickHouse is away
    Memory(Memory),
    /// Time from producing a record to seeing it in ClickHouse, at a low rate
    Latency(Latency),
    /// Lag at a steady rate
    Sustained(Sustained),
    /// What one tenant's load or poison does to the others' time to ClickHouse
    Fairness(Fairness),
    /// What rows cost that only ClickHouse refuses, beside the same stream without any
    Refused(Refused),
    #[command(name = "__consume", hide = true)]
    Consume(Consume),
    #[command(name = "__obvious", hide = true)]
    Obvious(Obvious),
}

/// What all of them need.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// First port of the bench's own stack
    #[arg(long, default_value_t = 28_000)]
    pub(crate) port_base: u16,
    /// Events in the topic
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) events: u64,
    /// Least size of an event, in bytes of JSON
    #[arg(long, default_value_t = 440)]
    pub(crate) bytes: usize,
    /// The table that all programs write to
    #[arg(long, value_enum, default_value_t = Table::Plain)]
    pub(crate) table: Table,
    /// Leave stack and topic in place for the next run, for two hours
    #[arg(long)]
    pub(crate) keep: bool,
    /// Folder of the results
    #[arg(long, default_value = "runs/side-by-side")]
    pub(crate) out: PathBuf,
}

/// The form of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// Columns and sorting key of `communication_events`, no projection, no index, no view
    Plain,
    /// `communication_events` as the platform has it, with its view
    Platform,
}

impl Default for Speed {
    fn default() -> Self {
        let Options { verb, .. } = Options::parse_from(["side_by_side", "speed"]);
        match verb {
            Some(Verb::Speed(speed)) => speed,
            _ => unreachable!("these are the words that were parsed"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Speed {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How often each program runs
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Batch sizes, in rows
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    pub(crate) batch: Vec<u64>,
    /// Processes of `sluice ingest` in one consumer group, one line of the report for each number
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) processes: Vec<usize>,
    /// Only programs whose name holds one of these words
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Another program: NAME=BINARY,TEMPLATE
    #[arg(long)]
    pub(crate) other: Vec<Other>,
}

#[derive(Debug, Args)]
pub(crate) struct Refused {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How often each share is measured
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Rows of a batch
    #[arg(long, default_value_t = 10_000)]
    pub(crate) batch: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Memory {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Batch sizes, in rows
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    pub(crate) batch: Vec<u64>,
    /// What the process may have, enforced where the machine lets us
    #[arg(long, default_value = "256MiB")]
    pub(crate) limit: ByteSize,
    /// How long ClickHouse is away in the middle
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub(crate) away: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Events per second
    #[arg(long, default_value_t = 100)]
    pub(crate) rate: u32,
    /// How long they are produced
    #[arg(long = "for", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) span: Duration,
    /// Longest time that a record waits in an open batch
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) timer: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Sustained {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Events per second
    #[arg(long, default_value_t = 10_000)]
    pub(crate) rate: u32,
    /// How long they are produced
    #[arg(long = "for", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) span: Duration,
    /// Longest time that a record waits in an open batch
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timer: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Fairness {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Events per second of each quiet tenant
    #[arg(long, default_value_t = 300)]
    pub(crate) rate: u32,
    /// How many times as many the loud tenant sends
    #[arg(long, default_value_t = 100)]
    pub(crate) times: u32,
    /// Events per second of all together in the part above capacity
    #[arg(long, default_value_t = 250_000)]
    pub(crate) flood: u32,
    /// How long each part lasts
    #[arg(long = "for", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) span: Duration,
    /// Longest time that a record waits in an open batch
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) timer: Duration,
}
