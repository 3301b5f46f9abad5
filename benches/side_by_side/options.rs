//! The command line of the bench and of its child processes. It imports no other module of the bench.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Compares Sluice with other programs on the same topic, tables and machine
#[derive(Debug, Parser)]
#[command(name = "side_by_side", bin_name = "cargo bench --bench side_by_side --")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// Passed by Cargo to every bench
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// What to measure; the speed by default.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Events per second of every program, in sequence, over several rounds
    Speed(Speed),
    /// Memory of `sluice ingest` with a backlog and through a ClickHouse outage
    Memory(Memory),
    /// Time from producing a record to seeing it in ClickHouse, at a low rate
    Latency(Latency),
    /// Lag at a steady rate
    Sustained(Sustained),
    /// How one tenant's load or poison affects the others' latency
    Fairness(Fairness),
    /// Cost of rows that only ClickHouse refuses, compared with the same stream without any
    Refused(Refused),
    #[command(name = "__consume", hide = true)]
    Consume(Consume),
    #[command(name = "__obvious", hide = true)]
    Obvious(Obvious),
}

/// Options of every verb.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// First port of the bench's own stack
    #[arg(long, default_value_t = 28_000)]
    pub(crate) port_base: u16,
    /// Events in the topic
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) events: u64,
    /// Minimum size of an event, in bytes of JSON
    #[arg(long, default_value_t = 440)]
    pub(crate) bytes: usize,
    /// The table that all programs write to
    #[arg(long, value_enum, default_value_t = Table::Plain)]
    pub(crate) table: Table,
    /// Keep stack and topic for the next run, for two hours
    #[arg(long)]
    pub(crate) keep: bool,
    /// Folder of the results
    #[arg(long, default_value = "runs/side-by-side")]
    pub(crate) out: PathBuf,
}

/// The table's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// Columns and sorting key of `communication_events`, without projection, index or view
    Plain,
    /// The platform's `communication_events` with its view
    Platform,
}

impl Default for Speed {
    fn default() -> Self {
        let Options { verb, .. } = Options::parse_from(["side_by_side", "speed"]);
        match verb {
            Some(Verb::Speed(speed)) => speed,
            _ => unreachable!("the verb is speed"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Speed {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Number of runs of each program
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: u32,
    /// Batch sizes, in rows
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    pub(crate) batch: Vec<u64>,
    /// Numbers of `sluice ingest` processes in one consumer group, each a line of the report
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) processes: Vec<usize>,
    /// Only programs whose name contains one of these words
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
    /// Number of runs of each share
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
    /// Memory limit of the process, enforced if the machine allows it
    #[arg(long, default_value = "256MiB")]
    pub(crate) limit: ByteSize,
    /// Duration of the ClickHouse outage in the middle
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub(crate) outage: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Events per second
    #[arg(long, default_value_t = 100)]
    pub(crate) rate: u32,
    /// Duration of production
    #[arg(long = "for", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) span: Duration,
    /// Maximum time that a record waits in an open batch
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
    /// Duration of production
    #[arg(long = "for", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) span: Duration,
    /// Maximum time that a record waits in an open batch
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
    /// Records of the heavy tenant for each record of a quiet one
    #[arg(long, default_value_t = 100)]
    pub(crate) load_factor: u32,
    /// Events per second of all tenants in the phase above capacity
    #[arg(long, default_value_t = 250_000)]
    pub(crate) flood: u32,
    /// Duration of each phase
    #[arg(long = "for", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) span: Duration,
    /// Maximum time that a record waits in an open batch
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) timer: Duration,
}

/// A program that the caller names, and its template; see `contender/other.rs`.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
    pub(crate) template: PathBuf,
}

impl FromStr for Other {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('=').and_then(|(name, files)| Some((name, files.split_once(',')?)));
        let (name, (binary, template)) = parts.ok_or_else(|| anyhow!("write NAME=BINARY,TEMPLATE"))?;
        Ok(Self { name: name.to_owned(), binary: binary.into(), template: template.into() })
    }
}

/// Arguments of the child process of `contender/consume.rs`.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[arg(long)]
    pub(crate) brokers: String,
    #[arg(long)]
    pub(crate) topic: String,
    #[arg(long)]
    pub(crate) group: String,
    #[arg(long)]
    pub(crate) events: u64,
}

/// Arguments of the child process of `contender/obvious.rs`.
#[derive(Debug, Args)]
pub(crate) struct Obvious {
    #[arg(long)]
    pub(crate) brokers: String,
    #[arg(long)]
    pub(crate) topic: String,
    #[arg(long)]
    pub(crate) group: String,
    #[arg(long)]
    pub(crate) url: String,
    #[arg(long)]
    pub(crate) user: String,
    #[arg(long)]
    pub(crate) password: String,
    #[arg(long)]
    pub(crate) database: String,
    #[arg(long)]
    pub(crate) table: String,
    #[arg(long)]
    pub(crate) batch: u64,
    #[arg(long)]
    pub(crate) tuned: bool,
}
