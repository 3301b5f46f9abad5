//! `sluice verify`: a trial of a scenario, judged: against its own ingest worker, or with `--read-only` of the stores as they are. The
//! exit code is the verdict. It decides none itself; loadgen does.

use std::path::Path;

use clap::{Args, ValueHint};
use sluice_loadgen::{
    account::{Account, Settled},
    compare::{self, Comparison},
    drive::Driven,
    observer::Observer as _,
    report::{self, Rate, Report},
    scenario::Access,
    trial::{Trial, TrialError},
};
use sluice_stack::Layout;

use crate::{
    compare as comparisons,
    exit::{Exit, Failure, OrExit},
    files, report as report_files,
    run::{self, Run, ShardOptions, trial_failure},
    screen,
    settings::{Overrides, Settings},
    worker::Worker,
};

/// Free disk space, in MiB, below which a failed run mentions the disk.
const MIN_FREE_MIB: u64 = 256;
/// What a run does between its drive and the wait for its records.
const GATHERING: &str = "waiting for the other shards";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    drive: ShardOptions,
    #[command(flatten)]
    baseline: Baseline,
    /// Only ask the questions, of the stores as they are: start no stack and no worker, apply no schema, load, write and drop
    /// nothing. The platform's own namespace is asked, unless --namespace names another
    #[arg(long, visible_alias = "existing", conflicts_with_all = ["shard", "reload"])]
    read_only: bool,
}

/// The runs with which a run is compared.
#[derive(Debug, Args)]
struct Baseline {
    /// Compare the run with earlier ones: a report, the folder of a run or of runs, or several separated by commas. A run
    /// that passes and is worse ends with exit code 1, and 2 if that is undecided
    #[arg(long, value_name = "REPORTS", value_hint = ValueHint::AnyPath, conflicts_with = "shard")]
    baseline: Option<String>,
    /// How much higher a latency may be than in the baseline and still be no worse
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = comparisons::margin, requires = "baseline")]
    margin: f64,
}

/// Runs and judges.
pub(crate) async fn run(options: Options, settings: Settings, overrides: &Overrides) -> Result<Exit, Failure> {
    let Options { drive: ShardOptions { run: options, shard }, baseline, read_only } = options;
    let Baseline { baseline, margin } = baseline;
    let chosen = options.choose(if read_only { Access::ReadOnly } else { Access::ReadWrite })?;
    let baseline = read_baseline(baseline.as_deref(), &chosen.scenario.name).or_exit(Exit::Usage)?;
    let run = if read_only {
        Box::pin(Run::attach(&options, chosen, settings)).await?
    } else {
        Box::pin(Run::prepare(&options, chosen, shard, settings)).await?
    };
    let judged = run.in_report_folder(async |folder| judge(&run, overrides, (&baseline, margin), folder).await).await;
    run.end().await;
    let (report, comparison) = judged?;
    Ok(match report_files::exit(report.verdict) {
        Exit::Pass => comparison.as_ref().map_or(Exit::Pass, comparisons::exit),
        other => other,
    })
}

/// Reads the runs to compare with before anything starts.
fn read_baseline(side: Option<&str>, scenario: &str) -> anyhow::Result<Vec<Report>> {
    let Some(side) = side else { return Ok(Vec::new()) };
    let baseline = comparisons::read_side(side)?;
    compare::check_baseline(scenario, &baseline)?;
    Ok(baseline)
}

async fn judge(
    run: &Run,
    overrides: &Overrides,
    (baseline, margin): (&[Report], f64),
    folder: &Path,
) -> Result<(Report, Option<Comparison>), Failure> {
    let report = match run.session.context().access {
        Access::ReadWrite => Box::pin(drive_and_judge(run, overrides, folder)).await?,
        Access::ReadOnly => Box::pin(ask_and_judge(run, folder)).await?,
    };
    if baseline.is_empty() {
        return Ok((report, None));
    }
    match compare_with(baseline, &report, margin, folder) {
        Ok(comparison) => Ok((report, Some(comparison))),
        // The run has a verdict of its own, which a comparison that can't be made does not change.
        Err(error) if report_files::exit(report.verdict) != Exit::Pass => {
            screen::print(&format!("warning: the run is not compared with the baseline: {error:#}"))?;
            Ok((report, None))
        }
        Err(error) => Err(error.into()),
    }
}

/// Compares the run with earlier ones, shows that and writes it into the run's folder.
fn compare_with(baseline: &[Report], report: &Report, margin: f64, folder: &Path) -> anyhow::Result<Comparison> {
    let comparison = compare::compare(baseline, std::slice::from_ref(report), margin)?;
    screen::print(&format!("\nCompared with the baseline (A)\n{}", comparison.table()))?;
    files::write(&folder.join("comparison.json"), &serde_json::to_string_pretty(&comparison)?)?;
    files::write(&folder.join("comparison.md"), &comparison.markdown())?;
    Ok(comparison)
}

/// Asks the questions of the scenario. Nothing is written, so there is nothing to wait for and no account.
async fn ask_and_judge(run: &Run, folder: &Path) -> Result<Report, Failure> {
    let mut trial = run.trial();
    let driven = Box::pin(trial.drive()).await.map_err(trial_failure)?;
    let measured = (&driven.measured, &driven.health);
    let report = Report::new(run::header(run, driven.started_at)?, trial.findings(&driven), measured, Vec::new(), None);
    publish(&report, folder)?;
    Ok(report)
}

/// Drives the scenario against a worker. However the drive ends, the worker is drained.
async fn drive_and_judge(run: &Run, overrides: &Overrides, folder: &Path) -> Result<Report, Failure> {
    if !run.session.context().shard().is_first() {
        return Box::pin(drive_shard(run, folder)).await;
    }
    let mut worker = run.start_worker(overrides, folder).await?;
    let mut trial = run.trial();
    let driven = Box::pin(drive_and_settle(run, &mut trial, &mut worker)).await;
    stop_worker(run, &mut trial, worker).await;
    let (driven, settled) = driven?;
    let mut account = None;
    if trial.interrupted().is_none() {
        let drawn_up = Box::pin(trial.account(&driven)).await;
        account = unless_interrupted(&mut trial, drawn_up, "drawing up the account")?;
    }
    if let Some(full) = disk_full(run).filter(|_| trial.has_failed()) {
        trial.fail(full);
    }
    let rates = report::rates(&driven, settled.filter(Settled::is_complete).map(|settled| settled.took));
    conclude(run, (trial, &driven), (rates, account), folder)
}

/// Drains the worker. One that exited before, or did not drain, is a failure of the trial.
async fn stop_worker(run: &Run, trial: &mut Trial<'_>, mut worker: Worker) {
    let (exited_early, log) = (worker.has_exited(), worker.log().display().to_string());
    if !exited_early {
        run.live.step_started("draining the ingest worker");
    }
    match worker.stop().await {
        Ok(status) if exited_early => {
            trial.fail(format!("the ingest worker ended before the run did: {status}; {log} says why"));
        }
        Ok(status) if status.success() => run.live.step_finished("ingest worker drained"),
        Ok(status) => trial.fail(format!("the ingest worker exited with {status}; {log} says why")),
        Err(error) => trial.fail(format!("{error:#}")),
    }
}

/// What work after the drive yields; `None` if it was interrupted, of which the trial keeps a note.
fn unless_interrupted<T>(
    trial: &mut Trial<'_>,
    done: Result<T, TrialError>,
    doing: &'static str,
) -> Result<Option<T>, Failure> {
    match done {
        Err(TrialError::Stopped) => {
            trial.interrupt(doing);
            Ok(None)
        }
        done => done.map(Some).map_err(trial_failure),
    }
}

/// Publishes the report of a drive that is over. If the run was interrupted since, that is the failure.
fn conclude(
    run: &Run,
    (trial, driven): (Trial<'_>, &Driven),
    (rates, account): (Vec<Rate>, Option<Account>),
    folder: &Path,
) -> Result<Report, Failure> {
    let interrupted = trial.interrupted();
    let report = report(run, (trial, driven), rates, account)?;
    publish(&report, folder)?;
    interrupted.map_or(Ok(report), |doing| Err(run::interrupted_after_drive(doing)))
}

/// Drives a shard other than the first one, which runs the worker and accounts for all.
async fn drive_shard(run: &Run, folder: &Path) -> Result<Report, Failure> {
    let mut trial = run.trial();
    let driven = trial.drive().await.map_err(trial_failure)?;
    let gathered = trial.gather(&driven).await;
    unless_interrupted(&mut trial, gathered, GATHERING)?;
    conclude(run, (trial, &driven), (report::rates(&driven, None), None), folder)
}

fn report(
    run: &Run,
    (trial, driven): (Trial<'_>, &Driven),
    rates: Vec<Rate>,
    account: Option<Account>,
) -> anyhow::Result<Report> {
    let measured = (&driven.measured, &driven.health);
    let report = Report::new(run::header(run, driven.started_at)?, trial.findings(driven), measured, rates, account);
    Ok(match run.session.context().shards {
        Some(shards) => report.with_parts(shards.run(), measured),
        None => report,
    })
}

/// Drives the scenario, and waits for the last record.
async fn drive_and_settle(
    run: &Run,
    trial: &mut Trial<'_>,
    worker: &mut Worker,
) -> Result<(Driven, Option<Settled>), Failure> {
    let watching = worker.watch_lag(|lag| run.live.set_lag(lag));
    let noticing = async {
        worker.exited().await;
        run.live.print("warning: the ingest worker has exited, so nothing lands any more and the run fails");
        std::future::pending::<()>().await;
    };
    let driven = tokio::select! {
        driven = Box::pin(trial.drive()) => driven.map_err(trial_failure)?,
        () = watching => unreachable!("the lag is watched until the drive is over"),
        () = noticing => unreachable!("the worker is watched until the drive is over"),
    };
    let gathered = trial.gather(&driven).await;
    if unless_interrupted(trial, gathered, GATHERING)?.is_none() {
        return Ok((driven, None));
    }
    let settled = tokio::select! {
        settled = trial.settle(&driven) => settled,
        () = worker.exited() => {
            run.live.step_finished("the ingest worker has exited, so nothing more lands");
            return Ok((driven, None));
        }
    };
    let settled = unless_interrupted(trial, settled, "waiting for its records to land")?;
    Ok((driven, settled.flatten()))
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
