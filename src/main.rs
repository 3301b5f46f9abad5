//! The `sluice` command: reads the command line, runs one verb, ends with its exit code.

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
mod run;
mod schemas;
mod screen;
mod settings;
mod signals;
mod status;
mod telemetry;
mod up;
mod verify;
mod worker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if let Some(code) = sluice_stack::reexecuted(std::env::args_os()) {
        return code;
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    telemetry::start(&cli);
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            screen::note(&format!("error: failed to {failure}"));
            failure.exit.into()
        }
    }
}
