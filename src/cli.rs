//! The command line: its arguments, and which verb they run. It holds no logic; each verb has its own file.

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::{
    arguments, capacity, compare, completions, config, dlq, down,
    exit::{Exit, Failure, OrExit},
    ingest, load, logs, memory, report, run, scenario, schemas, screen,
    settings::{self, Overrides, Settings},
    status,
    telemetry::{self, LogFormat},
    up, verify,
};

const LEARN: &str = "\
Start here:
  sluice verify            bring the local stack up, replay a day of communications, judge its SLOs
  sluice status            what runs, where, since when
  sluice down              stop what `up` or `verify` started

Exit codes: 0 pass, 1 fail, 2 inconclusive, 3 the run could not be made or judged, 4 usage or configuration, 130 Ctrl-C.
Settings: sluice.toml, overridden by SLUICE_SECTION__KEY (SLUICE_STORES__POSTGRES__PORT=5432), overridden by flags. `sluice config check` shows what is in effect.";

/// Ingest and load testing for a platform of PostgreSQL, Kafka, ClickHouse, Elasticsearch and Redis.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, after_help = LEARN, max_term_width = 110, next_help_heading = "Global options")]
pub(crate) struct Cli {
    /// Configuration file; without it, ./sluice.toml if there is one
    #[arg(long, global = true, value_name = "FILE", env = "SLUICE_CONFIG", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// First port of the local stack; stacks with bases 60 apart run side by side
    #[arg(long, global = true, value_name = "PORT", value_parser = arguments::whole_number::<u16>(settings::PORT_BASES))]
    port_base: Option<u16>,
    /// Namespace in the stores; by default "verify" for `verify`, `load` and `capacity`, and the platform's own otherwise and with --read-only
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// What to log: error, warn, info, debug, or directives such as "warn,sluice_ingest=debug"
    #[arg(long, global = true, value_name = "LEVEL", env = "SLUICE_LOG", default_value = "warn", value_parser = telemetry::directives)]
    log: String,
    /// How to log
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a scenario on real stores and judge it; the exit code is the verdict
    Verify(verify::Options),
    /// Search the highest rate at which every SLO of a scenario holds, and what gives way first
    Capacity(capacity::Options),
    /// Run a scenario without judging it
    Load(run::ShardOptions),
    /// Check, explain or list scenarios without running one
    #[command(subcommand)]
    Scenario(scenario::Verb),
    /// Show the report of a run again, as tables, a page, or for CI; or merge those of shards
    #[command(subcommand)]
    Report(report::Verb),
    /// Compare the reports of runs before and after a change; the exit code says whether it made something worse
    Compare(compare::Options),
    /// Start the local stack, or the parts of it that are not running; S3 only with --only
    Up(up::Options),
    /// Stop what `up` started
    Down(down::Options),
    /// Show what runs: store, version, port, pid, memory, ready since
    Status,
    /// Show the log of one store
    Logs(logs::Options),
    /// Apply the schemas of every store, or check them for drift
    #[command(subcommand)]
    Schemas(schemas::Verb),
    /// Land records from Kafka topics in their tables until stopped
    Ingest(ingest::Options),
    /// Inspect dead letters, and replay them once their cause is repaired
    #[command(subcommand)]
    Dlq(dlq::Verb),
    /// Check the configuration and print what is in effect, with secrets hidden
    #[command(subcommand)]
    Config(config::Verb),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Reads the command line, runs one verb and returns its exit code.
pub(crate) fn main() -> ExitCode {
    if let Some(code) = sluice_stack::serve_hidden_verb(std::env::args_os()) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    screen::uncover_on_panic();
    telemetry::start(&cli.log, cli.log_format);
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            screen::note(&format!("error: failed to {failure}"));
            failure.exit.into()
        }
    }
}

impl Cli {
    /// Runs the verb on the settings in effect.
    fn run(self) -> Result<Exit, Failure> {
        if let Verb::Completions { shell } = self.verb {
            return completions::print(shell, &mut Self::command());
        }
        let overrides = Overrides { file: self.config, port_base: self.port_base, namespace: self.namespace };
        let settings = settings::load(&overrides).or_exit(Exit::Usage)?;
        if let Verb::Ingest(_) = self.verb {
            // Before any thread starts. The generator and the stores keep the allocator's defaults.
            memory::set_up();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let ended = runtime.block_on(self.verb.run(settings, &overrides));
        // Work on a blocking thread (a plan, a lookup) must not delay the exit.
        runtime.shutdown_background();
        ended
    }
}

impl Verb {
    async fn run(self, settings: Settings, overrides: &Overrides) -> Result<Exit, Failure> {
        match self {
            Self::Verify(options) => Box::pin(verify::run(options, settings, overrides)).await,
            Self::Capacity(options) => Box::pin(capacity::run(options, settings, overrides)).await,
            Self::Load(options) => Box::pin(load::run(options, settings)).await,
            Self::Scenario(verb) => scenario::run(&verb, &settings),
            Self::Report(verb) => report::run(verb, &settings),
            Self::Compare(options) => compare::run(&options),
            Self::Up(options) => up::run(&options, &settings).await,
            Self::Down(options) => down::run(&options, &settings).await,
            Self::Status => status::run(&settings).await,
            Self::Logs(options) => logs::run(&options, &settings).await,
            Self::Schemas(verb) => schemas::run(verb, &settings).await,
            Self::Ingest(options) => ingest::run(options, settings).await,
            Self::Dlq(verb) => Box::pin(dlq::run(verb, settings)).await,
            Self::Config(verb) => config::run(&verb, &settings),
            // Handled before the settings are read: a completion script needs none.
            Self::Completions { .. } => Ok(Exit::Pass),
        }
    }
}

/// The exit code for what clap did not parse: help and version pass, everything else is incorrect usage.
fn refuse(error: &clap::Error) -> ExitCode {
    // A closed pipe while printing help is not an error.
    drop(error.print());
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Pass.into() }
}
