//! The `sluice` command: one file per verb.
//!
//! # Layout, bottom up
//! A module imports only from those above it.
//!
//! - `arguments`: parsers of arguments; `settings`: the settings in effect; `exit`: exit codes; `screen`, `table`: output;
//!   `files`: the files of a command; `telemetry`: the log; `memory`: the allocator; `signals`: Ctrl-C and SIGTERM
//! - verbs: `completions`, `config`, `status`, `logs`, `down`, `up`, `ingest`, `dlq`
//! - `scenarios`, `live`, `exports`, `worker`, `run`: parts of a run
//! - verbs that use them: `scenario`, `schemas`, `report`, `compare`, `load`, `verify`, `capacity`
//! - `cli`: parses the command line and calls one verb

mod arguments;
mod capacity;
mod cli;
mod compare;
mod completions;
mod config;
mod dlq;
mod down;
mod exit;
mod exports;
mod files;
mod ingest;
mod live;
mod load;
mod logs;
mod memory;
mod report;
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
