//! `sluice report`: shows the report of a run again, in any of its forms; and writes those forms for `sluice verify`. It
//! merges the reports of shards. Of one report it judges nothing: that keeps its verdict.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use sluice_loadgen::{
    report::{self, Format, Report},
    verdict::Overall,
};

use crate::{
    exit::{Exit, Failure, OrExit},
    files::{self, write, write_output},
    run, screen,
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the report of a run: the newest one, or the one in PATH
    Show(Show),
    /// Merge the reports of all shards of a run into one, judged on all samples together; the exit code is the verdict
    Merge(Merge),
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
    /// Write it to this file instead of standard output; a file that holds a report is not replaced
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Merge {
    /// The report of each shard: a report.json, or the folder of its run
    #[arg(value_name = "REPORT", required = true, value_hint = ValueHint::AnyPath)]
    reports: Vec<PathBuf>,
    /// Write the report into this folder instead of a new one in verify.runs; one that holds another report is refused
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
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

impl Form {
    /// The form.
    fn format(self) -> Format {
        match self {
            Self::Table => Format::Table,
            Self::Json => Format::Json,
            Self::Html => Format::Html,
            Self::Junit => Format::Junit,
            Self::Markdown => Format::Markdown,
            Self::Hdr => Format::Hdr,
        }
    }
}

/// Shows a report, or the schema.
pub(crate) fn run(verb: Verb, settings: &Settings) -> Result<Exit, Failure> {
    match verb {
        Verb::Show(show) => {
            let newest = || report::newest(&settings.verify.runs);
            let path = show.path.map_or_else(newest, Ok).or_exit(Exit::Usage)?;
            let text = report::read(&path).or_exit(Exit::Usage)?.render(show.format.format())?;
            match show.output {
                Some(file) => write_output(&file, &text).or_exit(Exit::Usage)?,
                None => screen::print(&text)?,
            }
        }
        Verb::Merge(options) => return merge(&options, settings),
        Verb::Schema => screen::print(&report::schema()?)?,
    }
    Ok(Exit::Pass)
}

/// Merges reports, shows the result and writes its forms.
fn merge(options: &Merge, settings: &Settings) -> Result<Exit, Failure> {
    let reports =
        options.reports.iter().map(|path| report::read(path)).collect::<Result<_, _>>().or_exit(Exit::Usage)?;
    let merged = report::merge(reports).or_exit(Exit::Usage)?;
    let folder = if let Some(folder) = &options.output {
        files::create_output_folder(folder, &merged.render(Format::Json)?).or_exit(Exit::Usage)?;
        folder.clone()
    } else {
        std::fs::create_dir_all(&settings.verify.runs).or_exit(Exit::Usage)?;
        run::create_report_folder(&settings.verify.runs).or_exit(Exit::Usage)?
    };
    screen::print(&merged.table())?;
    let page = write_all(&merged, &folder)?;
    screen::print(&format!("report: {}", page.display()))?;
    Ok(exit(merged.verdict))
}

/// The exit code of a verdict.
pub(crate) fn exit(verdict: Overall) -> Exit {
    match verdict {
        Overall::Pass => Exit::Pass,
        Overall::Fail => Exit::Fail,
        Overall::Inconclusive => Exit::Inconclusive,
        Overall::Invalid => Exit::Invalid,
    }
}

/// Writes every form into the folder of a run; returns the page.
pub(crate) fn write_all(report: &Report, folder: &Path) -> anyhow::Result<PathBuf> {
    for format in Format::FILES {
        write(&folder.join(format.file_name()), &report.render(format)?)
            .context("write the report; free some space, or choose another folder with verify.runs")?;
    }
    Ok(folder.join(Format::Html.file_name()))
}
