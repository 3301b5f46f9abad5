//! `sluice report`: shows the report of a run again, in any of its forms; and writes those forms for `sluice verify`. It
//! judges nothing: a report keeps its verdict.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use sluice_loadgen::report::{self, Format, Report};

use crate::{
    exit::{Exit, Failure, OrExit},
    screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the report of a run: the newest one, or the one in PATH
    Show(Show),
    /// Print the JSON schema of report.json
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A report.json, or the folder of a run; without it, the newest run in verify.runs
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    path: Option<PathBuf>,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Write it to this file instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// The forms of a report, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables
    Table,
    /// Everything, for programs
    Json,
    /// One page for a browser
    Html,
    /// Test results for a CI server
    Junit,
    /// A summary for a pull request or a job
    Markdown,
    /// The latencies, as a log of HdrHistogram
    Hdr,
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Table => Self::Table,
            Form::Json => Self::Json,
            Form::Html => Self::Html,
            Form::Junit => Self::Junit,
            Form::Markdown => Self::Markdown,
            Form::Hdr => Self::Hdr,
        }
    }
}

/// Shows a report, or the schema.
pub(crate) fn run(verb: Verb, settings: &Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::Show(show) => {
            let newest = || report::newest(&settings.verify.runs);
            let path = show.path.map_or_else(newest, Ok).or_exit(Exit::Usage)?;
            let text = report::read(&path).or_exit(Exit::Usage)?.render(show.format.into())?;
            match show.output {
                Some(file) => write(&file, &text).or_exit(Exit::Usage)?,
                None => screen::print(&text)?,
            }
        }
        Verb::Schema => screen::print(&report::schema()?)?,
    }
    Ok(Exit::Pass)
}

/// Writes every form into the folder of a run; returns the page.
pub(crate) fn write_all(report: &Report, folder: &Path) -> anyhow::Result<PathBuf> {
    for format in Format::FILES {
        write(&folder.join(format.file_name()), &report.render(format)?)
            .context("write the report; free some space, or choose another folder with verify.runs")?;
    }
    Ok(folder.join(Format::Html.file_name()))
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("write {}", path.display()))
}
