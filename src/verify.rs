//! `sluice verify`: a trial of a scenario against its own ingest worker, judged. The exit code is the verdict.

use std::path::Path;

use sluice_loadgen::{
    account::Settled,
    drive::Driven,
    observer::Observer as _,
    report::{self, Report},
    trial::Trial,
    verdict::Overall,
};
use sluice_stack::Layout;

use crate::{
    exit::{Exit, Failure},
    report as report_files,
    run::{self, Options, Run, interruptible, trial_failure},
    screen,
    settings::{Overrides, Settings},
    worker::Worker,
};

/// Free disk space, in MiB, below which a failed run mentions the disk.
const MIN_FREE_MIB: u64 = 256;

/// Runs and judges.
pub(crate) async fn run(options: Options, settings: Settings, overrides: &Overrides) -> Result<Exit, Failure> {
    let run = Box::pin(Run::prepare(&options, settings)).await?;
    let judged = Box::pin(judge(&run, overrides)).await;
    run.end().await;
    let report = judged?;
    Ok(match report.verdict {
        Overall::Pass => Exit::Pass,
        Overall::Fail => Exit::Fail,
        Overall::Inconclusive => Exit::Inconclusive,
        Overall::Invalid => Exit::Invalid,
    })
}

async fn judge(run: &Run, overrides: &Overrides) -> Result<Report, Failure> {
    let folder = run::create_report_folder(&run.settings.verify.runs)?;
    let report = Box::pin(drive_and_judge(run, overrides, &folder)).await;
    if report.as_ref().is_err_and(|failure| failure.exit == Exit::Interrupted) {
        // An interrupted run has no report; remove the worker's log as well.
        drop(std::fs::remove_dir_all(&folder));
    }
    report
}

/// Drives the scenario against a worker. However the drive ends, the worker is drained.
async fn drive_and_judge(run: &Run, overrides: &Overrides, folder: &Path) -> Result<Report, Failure> {
    let started_at = chrono::Utc::now();
    run.live.step_started("starting the ingest worker");
    let starting = async { Ok(Worker::start(&run.settings, overrides, folder).await?) };
    let mut worker = interruptible(&run.stop, starting).await?;
    run.live.step_finished(&format!("ingest worker ready, {}", worker.describe()));
    let mut trial = run.trial();
    let driven = Box::pin(drive_and_settle(&mut trial, &mut worker)).await;
    run.live.step_started("draining the ingest worker");
    match worker.stop().await {
        Ok(status) if status.success() => run.live.step_finished("ingest worker drained"),
        Ok(status) => trial.fail(format!("the ingest worker exited with {status}; see {}", folder.display())),
        Err(error) => trial.fail(format!("{error:#}")),
    }
    let (driven, settled) = driven?;
    let account = Box::pin(trial.account(&driven)).await.map_err(trial_failure)?;
    if let Some(full) = disk_full(run).filter(|_| trial.has_failed()) {
        trial.fail(full);
    }
    let rates = report::rates(&driven, settled.filter(Settled::is_complete).map(|settled| settled.took));
    let measured = (&driven.measured, &driven.health);
    let report = Report::new(run::header(run, started_at)?, trial.findings(&driven), measured, rates, Some(account));
    publish(&report, folder)?;
    Ok(report)
}

/// Drives the scenario, and waits for the last record.
async fn drive_and_settle(trial: &mut Trial<'_>, worker: &mut Worker) -> Result<(Driven, Option<Settled>), Failure> {
    let driven = trial.drive().await.map_err(trial_failure)?;
    if let Err(error) = worker.check() {
        trial.fail(format!("{error:#}"));
    }
    let settled = trial.settle(&driven).await.map_err(trial_failure)?;
    Ok((driven, settled))
}

/// A full disk, which stores report in different ways.
fn disk_full(run: &Run) -> Option<String> {
    let layout = Layout::new(&run.settings.stack).ok().filter(|_| run.settings.is_local())?;
    let free = layout.free_mib().filter(|free| *free < MIN_FREE_MIB)?;
    Some(format!("the disk that holds {} has {free} MiB left; free some space", layout.state_dir().display()))
}

/// Writes the tables to the terminal, and every form of the report into its folder.
fn publish(report: &Report, folder: &Path) -> anyhow::Result<()> {
    // Print the tables even if the report can't be written.
    let shown = screen::print(&report.table());
    let page = report_files::write_all(report, folder)?;
    shown?;
    Ok(screen::print(&format!("report: {}", page.display()))?)
}
