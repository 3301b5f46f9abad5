//! The `sluice` command: one file per verb; `cli` parses the command line and dispatches to it.

mod cli;
mod completions;
mod config;
mod dlq;
mod down;
mod exit;
mod ingest;
mod live;
mod load;
mod logs;
mod memory;
mod run;
mod scenario;
mod scenarios;
mod schemas;
mod screen;
mod settings;
mod signals;
mod status;
mod table;
mod telemetry;
mod up;
mod verify;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
