//! `sluice verify`: a scenario is driven against an ingest worker of its own, the account is drawn up, the SLOs are judged,
//! and the exit code is the verdict.

use std::{path::Path, time::Duration};

use anyhow::Context;
use sluice_loadgen::{
    account::{self, Account, Settled},
    drive::Driven,
    report::{self, Header, Machine, Report},
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

/// How long a store that nothing else asks may take to say that it is there.
const ANSWER: Duration = Duration::from_secs(10);
/// Free disk below which a failed run names the disk, MiB.
const LITTLE_ROOM: u64 = 256;

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
    let folder = run::folder(&run.settings.verify.runs)?;
    let report = Box::pin(watched(run, overrides, &folder)).await;
    if report.as_ref().is_err_and(|failure| failure.exit == Exit::Interrupted) {
        // Half a run is no report; what the worker logged goes with it.
        drop(std::fs::remove_dir_all(&folder));
    }
    report
}

/// Drives against a worker; however that ends, the worker is told to drain and waited for.
async fn watched(run: &Run, overrides: &Overrides, folder: &Path) -> Result<Report, Failure> {
    let started_at = chrono::Utc::now();
    run.live.step("starting the ingest worker");
    let starting = async { Ok(Worker::start(&run.settings, overrides, folder).await?) };
    let mut worker = interruptible(&run.stop, starting).await?;
    run.live.done(&format!("ingest worker ready, {}", worker.describe()));
    let mut failures = Vec::new();
    let driven = Box::pin(drive_and_settle(run, &mut worker, &mut failures)).await;
    run.live.step("draining the ingest worker");
    match worker.stop().await {
        Ok(status) if status.success() => run.live.done("ingest worker drained"),
        Ok(status) => failures.push(format!("the ingest worker ended with {status}; see {}", folder.display())),
        Err(error) => failures.push(format!("{error:#}")),
    }
    let (driven, settled) = driven?;
    let account = draw_up(run, &driven, &mut failures).await?;
    let findings = Findings {
        slos: run.scenario.slos.iter().map(|slo| verdict::judge(&driven.recorders, slo)).collect(),
        availability: verdict::availability(&driven.recorders, run.scenario.availability),
        validity: verdict::validity(&run.scenario.slos, &driven.recorders, &driven.health),
        failures: once(failures),
    };
    let rates = report::rates(&run.plan, &driven, settled.filter(Settled::is_complete).map(|settled| settled.took));
    let report = Report::new(header(run, started_at)?, findings, &driven.recorders, rates, Some(account));
    publish(&report, folder)?;
    Ok(report)
}

/// Each failure once: a store that is away is away for every step that asks it.
fn once(failures: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    failures.into_iter().filter(|failure| seen.insert(failure.clone())).collect()
}

/// The drive, and the wait for its last record to land.
async fn drive_and_settle(
    run: &Run,
    worker: &mut Worker,
    failures: &mut Vec<String>,
) -> Result<(Driven, Option<Settled>), Failure> {
    let driven = run.drive().await?;
    failures.extend(driven.lost.iter().cloned());
    failures.extend(worker.check().err().map(|error| format!("{error:#}")));
    let settled = arrive(run, &driven, failures).await?;
    Ok((driven, settled))
}

/// Waits until all that was produced has landed. A store that can't be asked any more fails the run.
async fn arrive(run: &Run, driven: &Driven, failures: &mut Vec<String>) -> Result<Option<Settled>, Failure> {
    run.live.step("waiting until everything has landed (the last batches are cut by time)");
    let progress = |arrived: u64, produced: u64| run.live.moving(&format!("landed {arrived} of {produced}"));
    let settling = account::settle(run.context(), &driven.acknowledged, run.scenario.settle, &run.stop, &progress);
    let settled = interruptible(&run.stop, async { Ok(settling.await) }).await?;
    match settled {
        Ok(settled) => {
            run.live.done(&format!(
                "{} of {} records landed, after {}",
                settled.arrived,
                settled.produced,
                run::seconds(settled.took)
            ));
            Ok(Some(settled))
        }
        Err(error) => {
            failures.push(broken(error));
            Ok(None)
        }
    }
}

/// What is said of a store that can't be asked any more.
fn broken(why: impl std::fmt::Display) -> String {
    format!("{why}; `sluice status` shows which store does not answer, `sluice logs STORE` why")
}

async fn draw_up(run: &Run, driven: &Driven, failures: &mut Vec<String>) -> Result<Account, Failure> {
    run.live.step("drawing up the account");
    let balancing = account::balance(run.context(), &driven.acknowledged);
    let account = interruptible(&run.stop, async { Ok(Box::pin(balancing).await) }).await?;
    run.live.done(if account.is_balanced() { "the account balances" } else { "the account does not balance" });
    failures.extend(account.discrepancies());
    failures.extend(unasked(run).await);
    if !failures.is_empty() {
        failures.extend(disk_full(run));
    }
    Ok(account)
}

/// The cluster of Redis that no question and no account asks: dead, it would not be noticed.
async fn unasked(run: &Run) -> Option<String> {
    let asked = timeout(ANSWER, sluice_schemas::connect::redis_state(&run.settings.stores)).await;
    let why = match asked {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("connect to Redis (state): no answer in {} s", ANSWER.as_secs()),
    };
    Some(broken(why))
}

/// A full disk breaks stores in words of their own.
fn disk_full(run: &Run) -> Option<String> {
    let layout = Layout::new(&run.settings.stack).ok().filter(|_| run.settings.is_local())?;
    let free = layout.free_mib().filter(|free| *free < LITTLE_ROOM)?;
    Some(format!("the disk that holds {} has {free} MiB left; make room", layout.state_dir().display()))
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

/// The JSON report into its folder, the tables onto the screen.
fn publish(report: &Report, folder: &Path) -> anyhow::Result<()> {
    // What the run has shown is seen even where it can't be kept.
    let shown = screen::say(&report.table());
    let (path, fresh) = (folder.join("report.json"), folder.join("report.json.new"));
    let text = serde_json::to_string_pretty(report).context("write the report")?;
    std::fs::write(&fresh, text)
        .and_then(|()| std::fs::rename(&fresh, &path))
        .inspect_err(|_| drop(std::fs::remove_file(&fresh)))
        .with_context(|| format!("write {}; make room, or choose another folder with verify.runs", path.display()))?;
    shown?;
    Ok(screen::say(&format!("report: {}", path.display()))?)
}
