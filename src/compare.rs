//! `sluice compare`: compares reports of runs before and after a change. It judges no run; the exit code says whether the
//! later ones are worse.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum, ValueHint};
use sluice_loadgen::{
    compare::{self, Comparison, Outcome},
    report::{self, Report},
};

use crate::{
    exit::{Exit, Failure, OrExit},
    files::write_output,
    screen,
};

/// What the exit codes of a comparison mean, for `--help`.
const CODES: &str = "\
Each side is a report.json, the folder of a run, a folder of runs, or several of these separated by commas. Repeat the \
runs of both sides in turn, A B A B: the noise between runs is only known from repeats.

Exit codes: 0 no worse, 1 worse, 2 undecided, 4 the reports can't be compared.";

#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub(crate) struct Options {
    /// The runs before the change
    #[arg(value_name = "A", value_hint = ValueHint::AnyPath)]
    a: String,
    /// The runs after the change
    #[arg(value_name = "B", value_hint = ValueHint::AnyPath)]
    b: String,
    /// How much higher a latency may be and still be no worse, as in 10%
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = margin)]
    margin: f64,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
    /// Write it to this file instead of standard output; a file that holds a report is not replaced
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// The forms of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Tables
    Table,
    /// Everything, for programs
    Json,
    /// A summary for a pull request or a job
    Markdown,
}

/// Compares, and shows the comparison.
pub(crate) fn run(options: &Options) -> Result<Exit, Failure> {
    let [a, b] = [&options.a, &options.b].map(|side| read_side(side).or_exit(Exit::Usage));
    let comparison = compare::compare(&a?, &b?, options.margin).or_exit(Exit::Usage)?;
    let text = match options.format {
        Form::Table => comparison.table(),
        Form::Json => serde_json::to_string_pretty(&comparison)?,
        Form::Markdown => comparison.markdown(),
    };
    match &options.output {
        Some(file) => write_output(file, &text).or_exit(Exit::Usage)?,
        None => screen::print(&text)?,
    }
    Ok(exit(&comparison))
}

/// The exit code that says whether the later runs are worse.
pub(crate) fn exit(comparison: &Comparison) -> Exit {
    match comparison.outcome {
        Outcome::NoWorse => Exit::Pass,
        Outcome::Worse => Exit::Fail,
        Outcome::Undecided => Exit::Inconclusive,
    }
}

/// Reads the reports of one side.
pub(crate) fn read_side(side: &str) -> anyhow::Result<Vec<Report>> {
    let whole = Path::new(side);
    let named = if whole.exists() { vec![side] } else { side.split(',').collect() };
    let mut reports = Vec::new();
    if named.iter().any(|path| path.is_empty()) {
        bail!("read \"{side}\": a name in it is empty; write reports or folders separated by commas");
    }
    for path in named.into_iter().map(Path::new) {
        for run in runs(path)? {
            reports.push(report::read(&run)?);
        }
    }
    Ok(reports)
}

/// The runs of a folder of runs in the order of their names; otherwise the path itself.
fn runs(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() || path.join(report::FILE_NAME).exists() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))?;
    let folders = entries.flatten().map(|entry| entry.path()).filter(|folder| folder.join(report::FILE_NAME).is_file());
    let mut runs: Vec<PathBuf> = folders.collect();
    runs.sort();
    Ok(if runs.is_empty() { vec![path.to_owned()] } else { runs })
}

/// Parses a share such as `10%`.
pub(crate) fn margin(text: &str) -> Result<f64, &'static str> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let share = percent.map(|percent| percent / 100.0).filter(|share| *share > 0.0 && *share <= 10.0);
    share.ok_or("write a percentage above 0 and up to 1000, as in 10%")
}
