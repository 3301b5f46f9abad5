//! `sluice verify`: drives a scenario against its own ingest worker, draws up the account and judges the SLOs.
//! The exit code is the verdict.

use std::{path::Path, time::Duration};

use anyhow::Context;
use sluice_loadgen::{
    account::{self, Account, Settled},
    drive::Driven,
    report::{self, Header, Machine, Report, separated},
    verdict::{self, Findings, Overall},
};
use sluice_stack::Layout;
use tokio::time::timeout;

use crate::{
    exit::{Exit, Failure},
    run::{self, Options, Run, interruptible},
    screen,
    settings::{Overrides, Settings},
    worker::Worker,
};

/// Time-out of the check of a store that neither a question nor the account uses.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
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
    run.live.step("starting the ingest worker");
    let starting = async { Ok(Worker::start(&run.settings, overrides, folder).await?) };
    let mut worker = interruptible(&run.stop, starting).await?;
    run.live.finish_step(&format!("ingest worker ready, {}", worker.describe()));
    let mut failures = Vec::new();
    let driven = Box::pin(drive_and_settle(run, &mut worker, &mut failures)).await;
    run.live.step("draining the ingest worker");
    match worker.stop().await {
        Ok(status) if status.success() => run.live.finish_step("ingest worker drained"),
        Ok(status) => failures.push(format!("the ingest worker exited with {status}; see {}", folder.display())),
        Err(error) => failures.push(format!("{error:#}")),
    }
    let (driven, settled) = driven?;
    let account = draw_up(run, &driven, &mut failures).await?;
    failures.extend(verdict::wrong_without_slo(&run.scenario, &driven.measured.questions));
    let (slos, availability) = verdict::judge(&run.scenario, &driven.measured);
    let findings = Findings {
        slos,
        availability,
        validity: verdict::validity(&run.scenario.slos, &driven.measured.questions, &driven.health),
        failures: deduplicate(failures),
    };
    let rates = report::rates(&driven, settled.filter(Settled::is_complete).map(|settled| settled.took));
    let report = Report::new(
        header(run, started_at)?,
        findings,
        (&driven.measured.questions, &driven.health),
        rates,
        Some(account),
    );
    publish(&report, folder)?;
    Ok(report)
}

/// Each failure once: every step that uses an unavailable store reports it.
fn deduplicate(failures: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    failures.into_iter().filter(|failure| seen.insert(failure.clone())).collect()
}

/// Drives the scenario, and waits for the last record.
async fn drive_and_settle(
    run: &Run,
    worker: &mut Worker,
    failures: &mut Vec<String>,
) -> Result<(Driven, Option<Settled>), Failure> {
    let driven = run.drive().await?;
    failures.extend(driven.lost.iter().cloned());
    failures.extend(worker.check().err().map(|error| format!("{error:#}")));
    let settled = settle(run, &driven, failures).await?;
    Ok((driven, settled))
}

/// Waits until every record has landed or been dead-lettered, or none has arrived for the settle time. A store that becomes unavailable fails the run.
async fn settle(run: &Run, driven: &Driven, failures: &mut Vec<String>) -> Result<Option<Settled>, Failure> {
    run.live.step("waiting until everything has landed (the last batches are sealed by time)");
    let progress = |arrived: u64, produced: u64| {
        run.live.update(&format!(
            "{} of {} have landed or been dead-lettered",
            separated(arrived),
            separated(produced)
        ));
    };
    let settling = account::settle(run.context(), &driven.acknowledged, run.scenario.settle, &run.stop, &progress);
    let settled = interruptible(&run.stop, async { Ok(settling.await) }).await?;
    match settled {
        Ok(settled) => {
            run.live.finish_step(&format!(
                "{} of {} records have landed or been dead-lettered, after {}",
                separated(settled.arrived),
                separated(settled.produced),
                run::seconds(settled.took)
            ));
            Ok(Some(settled))
        }
        Err(error) => {
            failures.push(store_failure(error));
            Ok(None)
        }
    }
}

/// The failure of an unavailable store.
fn store_failure(why: impl std::fmt::Display) -> String {
    format!("{why}; `sluice status` shows which store does not respond, `sluice logs STORE` why")
}

async fn draw_up(run: &Run, driven: &Driven, failures: &mut Vec<String>) -> Result<Account, Failure> {
    run.live.step("drawing up the account");
    let balancing = account::balance(run.context(), &driven.acknowledged);
    let account = interruptible(&run.stop, async { Ok(Box::pin(balancing).await) }).await?;
    run.live.finish_step(if account.is_balanced() { "the account balances" } else { "the account does not balance" });
    failures.extend(account.discrepancies());
    failures.extend(check_state_cluster(run).await);
    if !failures.is_empty() {
        failures.extend(disk_full(run));
    }
    Ok(account)
}

/// Checks the Redis cluster that neither a question nor the account uses, so that its failure is noticed.
async fn check_state_cluster(run: &Run) -> Option<String> {
    let connected = timeout(CHECK_TIMEOUT, sluice_schemas::connect::redis_state(&run.settings.stores)).await;
    let why = match connected {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("connect to Redis (state): no response in {} s", CHECK_TIMEOUT.as_secs()),
    };
    Some(store_failure(why))
}

/// A full disk, which stores report in different ways.
fn disk_full(run: &Run) -> Option<String> {
    let layout = Layout::new(&run.settings.stack).ok().filter(|_| run.settings.is_local())?;
    let free = layout.free_mib().filter(|free| *free < MIN_FREE_MIB)?;
    Some(format!("the disk that holds {} has {free} MiB left; free some space", layout.state_dir().display()))
}

fn header(run: &Run, started_at: chrono::DateTime<chrono::Utc>) -> anyhow::Result<Header> {
    Ok(Header {
        started_at,
        scenario: run.scenario.clone(),
        digest: run.digest.clone(),
        machine: Machine::this(),
        stores: run::versions(&run.settings),
        config: serde_json::to_value(&run.settings).context("write the configuration into the report")?,
    })
}

/// Writes the JSON report into its folder and the tables to the terminal.
fn publish(report: &Report, folder: &Path) -> anyhow::Result<()> {
    // Print the tables even if the report can't be written.
    let shown = screen::print(&report.table());
    let (path, temporary) = (folder.join("report.json"), folder.join("report.json.new"));
    let text = serde_json::to_string_pretty(report).context("write the report")?;
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| {
            format!("write {}; free some space, or choose another folder with verify.runs", path.display())
        })?;
    shown?;
    Ok(screen::print(&format!("report: {}", path.display()))?)
}
