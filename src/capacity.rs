//! `sluice capacity`: searches the highest rate at which every SLO of a scenario still holds, for the mix, for each store's
//! questions and for the writes. The search itself is loadgen's. This file chooses no rate.

use std::{path::Path, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use sluice_loadgen::{
    capacity::{
        growth::Growth,
        report::{CapacityReport, SearchReport},
        run::{self as search, Plan},
        search::Found,
        subject::Subject,
    },
    observer::Observer as _,
    plan::Shard,
    report::SEARCH_FILE_NAME,
    scenario::{Access, Scenario, exact_duration},
    trial::TrialError,
};

use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    files,
    run::{self, Run, RunOptions, trial_failure},
    screen,
    settings::{Overrides, Settings},
    worker::Worker,
};

/// Longest time for which a rate is held.
const LONGEST_HOLD: Duration = Duration::from_hours(24);

/// What to search, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    run: RunOptions,
    /// What grows: mix, postgres, redis, elasticsearch, clickhouse (the questions to that store) or writes; separated by
    /// commas. Without it, all of them in turn
    #[arg(long, value_name = "PART", value_delimiter = ',', value_parser = subject)]
    of: Vec<Subject>,
    /// How long a step holds its rate, as in 60s, from 1s to 24h; without it, as long as the scenario's drive
    #[arg(long, value_name = "TIME", value_parser = hold)]
    hold: Option<Duration>,
    /// How long the rate that was found is held to confirm it, from 1s to 24h; without it, three times as long as a step
    #[arg(long, value_name = "TIME", value_parser = hold)]
    confirm: Option<Duration>,
    /// Growth of the load, as in "3 %/month": prints the day on which the headroom ends
    #[arg(long, value_name = "GROWTH", value_parser = Growth::parse)]
    growth: Option<Growth>,
    /// The rate of the first step, as a factor on the scenario's, from 0.0625 to 256
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    from: f64,
}

fn subject(text: &str) -> Result<Subject, &'static str> {
    Subject::from_name(text).ok_or("write mix, postgres, redis, elasticsearch, clickhouse or writes")
}

fn hold(text: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_secs(1)..=LONGEST_HOLD;
    arguments::duration(text)
        .and_then(|hold| if range.contains(&hold) { Ok(hold) } else { Err("write a time from 1s to 24h") })
}

fn factor(text: &str) -> Result<f64, String> {
    let (low, high) = search::RANGE;
    let factor = text.parse().ok().filter(|factor| (low..=high).contains(factor));
    factor.ok_or_else(|| format!("write a factor from {low} to {high}"))
}

/// The searches, checked.
struct Order {
    subjects: Vec<Subject>,
    hold: Duration,
    confirm: Duration,
    first: f64,
    growth: Option<Growth>,
}

impl Order {
    /// Checks the options against the scenario, before anything starts.
    fn new(options: &Options, scenario: &Scenario) -> anyhow::Result<Self> {
        let hold = options.hold.unwrap_or(scenario.duration);
        let confirm = options.confirm.unwrap_or(hold * 3);
        let mut subjects = options.of.clone();
        if subjects.is_empty() {
            subjects = Subject::all(scenario);
        }
        if confirm < hold {
            return Err(anyhow!(
                "confirm a rate that is held for {} in only {}; choose a longer --confirm",
                exact_duration(hold),
                exact_duration(confirm)
            ));
        }
        for subject in &subjects {
            let cause = || format!("search the capacity of {}", scenario.name);
            subject.check(scenario, options.from, (hold, confirm)).with_context(cause)?;
        }
        Ok(Self { subjects, hold, confirm, first: options.from, growth: options.growth })
    }
}

/// Searches. The exit code tells whether the scenario's own rate holds.
pub(crate) async fn run(options: Options, settings: Settings, overrides: &Overrides) -> Result<Exit, Failure> {
    let chosen = options.run.choose(Access::ReadWrite)?;
    let order = Order::new(&options, &chosen.scenario).or_exit(Exit::Usage)?;
    let short = too_short(order.hold, &settings);
    let run = Box::pin(Run::prepare(&options.run, chosen, Shard::WHOLE, settings)).await?;
    if let Some(warning) = short {
        run.live.print(&format!("warning: {warning}"));
    }
    let searched = run.in_report_folder(async |folder| search_all(&run, &order, overrides, folder).await).await;
    run.end().await;
    Ok(exit(&searched?.searches))
}

/// Warns of steps that end before ingest inserts evenly: they find rates that don't last.
fn too_short(hold: Duration, settings: &Settings) -> Option<String> {
    let sealed = settings.ingest.pipelines.values().map(|pipeline| pipeline.max_age).max()?;
    (hold < sealed * 2).then(|| {
        format!(
            "steps of {} are short: ingest seals a batch after up to {}, so the stores bear less for longer; hold a rate for {} or more",
            exact_duration(hold),
            exact_duration(sealed),
            exact_duration(sealed * 2)
        )
    })
}

/// FAIL if a search shows that less than the scenario's own rate holds, INVALID if the generator kept one from telling, and
/// INCONCLUSIVE if too few samples did.
fn exit(searches: &[SearchReport]) -> Exit {
    let is_held = |search: &SearchReport| search.found.passed().is_some_and(|passed| passed >= 1.0);
    let missed: Vec<&SearchReport> = searches.iter().filter(|search| !is_held(search)).collect();
    if missed.is_empty() {
        Exit::Pass
    } else if missed.iter().any(|search| matches!(search.found, Found::Limit { .. } | Found::BelowFirst { .. })) {
        Exit::Fail
    } else if missed.iter().any(|search| matches!(search.found, Found::GeneratorGaveWay { .. })) {
        Exit::Invalid
    } else {
        Exit::Inconclusive
    }
}

async fn search_all(run: &Run, order: &Order, overrides: &Overrides, folder: &Path) -> Result<CapacityReport, Failure> {
    let header = run::header(run, chrono::Utc::now())?;
    let mut worker = run.start_worker(overrides, folder).await?;
    let (found, failure) = Box::pin(searches(run, order, &mut worker)).await;
    // Before the worker is drained, which may be cut short by a second Ctrl-C.
    let report = CapacityReport::new(header, (order.hold, order.confirm), order.growth, found);
    if !report.searches.is_empty() {
        publish(&report, folder)?;
    }
    run.live.step_started("draining the ingest worker");
    match worker.stop().await {
        Ok(status) => run.live.step_finished(&format!("ingest worker drained, {status}")),
        Err(error) => run.live.step_finished(&format!("{error:#}")),
    }
    match failure {
        Some(failure) if failure.exit == Exit::Interrupted && !report.searches.is_empty() => Err(interrupted()),
        failure => failure.map_or(Ok(report), Err),
    }
}

/// The failure of searches that were interrupted when at least one step was done.
fn interrupted() -> Failure {
    let error = anyhow!("finish all searches: they were interrupted; the report has the steps that were done");
    Failure { exit: Exit::Interrupted, error }
}

/// Searches all parts. A failure ends the searches, and those before it are finished; an interruption keeps the steps so far.
async fn searches(run: &Run, order: &Order, worker: &mut Worker) -> (Vec<SearchReport>, Option<Failure>) {
    let (mut trial, mut found) = (0, Vec::new());
    for &subject in &order.subjects {
        if found.last().is_some_and(|search: &SearchReport| !search.has_landed()) {
            return (found, Some(trial_failure(TrialError::Unsettled)));
        }
        let plan = Plan { subject, hold: order.hold, confirm: order.confirm, first: order.first };
        let mut alive = || worker.check().map_err(|error| format!("{error:#}"));
        let shown = (run.observer(), &run.stop);
        let searching = search::search(plan, &run.session, &mut trial, &mut alive, shown);
        match Box::pin(searching).await {
            Ok(search) => {
                let failure = search.is_interrupted().then(|| trial_failure(TrialError::Stopped));
                found.push(search);
                if failure.is_some() {
                    return (found, failure);
                }
            }
            Err(error) => return (found, Some(trial_failure(error))),
        }
    }
    (found, None)
}

/// Writes the tables to the terminal, and the report as JSON and as a page into its folder.
fn publish(report: &CapacityReport, folder: &Path) -> anyhow::Result<()> {
    // Print the tables even if the report can't be written.
    let shown = screen::print(&report.table());
    let page = folder.join("capacity.html");
    files::write(&folder.join(SEARCH_FILE_NAME), &report.json()?)?;
    files::write(&page, &report.html())?;
    shown?;
    Ok(screen::print(&format!("report: {}", page.display()))?)
}
