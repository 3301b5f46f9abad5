//! What `verify` and `load` share: read a scenario, start the stack, recreate the run's namespace, load the population,
//! and drive the plan. Each step reports what it did. It never judges the run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::{Args, ValueHint};
use sluice_loadgen::{
    drive::{Driven, drive},
    load,
    plan::{Plan, Totals},
    population::Population,
    report::separated,
    run_context::RunContext,
    scenario::Scenario,
    verdict,
};
use sluice_schemas::{Reservation, SchemaError, Store, concurrency::join, names::Names};
use sluice_stack::{Layout, Service};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Exit, Failure, OrExit},
    live::Live,
    scenarios,
    settings::Settings,
    signals, up,
};

/// What a run drops, for `--help`.
const DROPS: &str = "\
What is dropped: before a run, everything that earlier runs created in its namespace is dropped without confirmation: \
their topics, consumer groups, tables, indices, keys, search indexes and empty buckets. Each store has a marker that the \
namespace was created for runs, and only objects with the namespace's mark, or in its inventory on Kafka, are dropped. \
Databases and other objects stay. A namespace that contains objects but no marker is refused with exit code 4, and \
nothing is dropped. What a run creates stays until the next run.";

/// Options of a run.
#[derive(Debug, Args)]
#[command(after_help = DROPS)]
pub(crate) struct Options {
    /// The scenario: smoke (the default) or day, which ship with this program, or the path of a file. A name that
    /// contains a path separator or ends in .toml is always a file
    #[arg(value_name = "SCENARIO", value_hint = ValueHint::FilePath)]
    scenario: Option<String>,
    /// Don't start the local stack: the stores of sluice.toml are already running
    #[arg(long)]
    no_up: bool,
}

/// A run, and the terminal that shows it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    pub(crate) scenario: Scenario,
    pub(crate) plan: Arc<Plan>,
    pub(crate) digest: String,
    pub(crate) live: Live,
    pub(crate) stop: CancellationToken,
    reservation: Reservation,
}

impl Run {
    /// Does everything before the drive.
    pub(crate) async fn prepare(options: &Options, settings: Settings) -> Result<Self, Failure> {
        let (scenario, choice_warning) = scenarios::choose(options.scenario.as_deref()).or_exit(Exit::Usage)?;
        let names = settings.verify.namespace.clone();
        // Check that the report can be written before anything runs.
        std::fs::create_dir_all(&settings.verify.runs)
            .with_context(|| {
                format!("create {}; choose another folder with verify.runs", settings.verify.runs.display())
            })
            .or_exit(Exit::Usage)?;
        let stop = signals::cancellation()?;
        let live = Live::start();
        let description = if scenario.description.is_empty() { "no description" } else { &scenario.description };
        live.print(&format!("scenario {}: {description}", scenario.name));
        for warning in verdict::warnings(&scenario).into_iter().chain(choice_warning) {
            live.print(&format!("warning: {warning}"));
        }
        let planning = tokio::task::spawn_blocking({
            let scenario = scenario.clone();
            move || make_plan(&scenario)
        });
        if !options.no_up && settings.is_local() {
            interruptible(&stop, start_stack(&settings, &live)).await?;
        }
        let (reservation, names) = interruptible(&stop, reset_namespace(&settings, &names, &live)).await?;
        let planned = async { Ok(join(planning).await) };
        let (plan, digest) = interruptible(&stop, planned).await?;
        let run = Self { settings, names, scenario, plan, digest, live, stop, reservation };
        Box::pin(run.load()).await?;
        Ok(run)
    }

    async fn load(&self) -> Result<(), Failure> {
        self.live.step("loading the population and its past");
        let population = self.plan.population();
        let counter = self.live.counter(&load::expected_records(population));
        let add = |kind: &str, more: u64| counter.add(kind, more);
        let (stores, names, scenario) = (&self.settings.stores, &self.names, &self.scenario);
        let loading = load::load(stores, names, scenario, population, &self.stop, &add);
        let loaded = interruptible(&self.stop, async { Box::pin(loading).await.map_err(Failure::from) }).await?;
        let records: u64 = loaded.records.values().sum();
        self.live.finish_step(&format!("{} records loaded in {:.1} s", separated(records), loaded.took.as_secs_f64()));
        Ok(())
    }

    /// Drives the plan. A store's failures are measured; an error here means that the drive itself failed.
    pub(crate) async fn drive(&self) -> Result<Driven, Failure> {
        let (sender, receiver) = watch::channel(sluice_loadgen::drive::Progress::default());
        let driving = async {
            let driven = drive(self.context(), &self.stop, &sender).await;
            drop(sender);
            driven
        };
        let (driven, ()) = tokio::join!(driving, self.live.follow(receiver));
        let driven = driven?;
        if driven.stopped {
            return Err(interrupted());
        }
        let acknowledged: u64 = driven.acknowledged.iter().map(Totals::through_kafka).sum();
        let took = driven.health.monotonic.as_secs_f64();
        let per_second = if took > 0.0 { (acknowledged as f64 / took) as u64 } else { 0 };
        self.live.finish_step(&format!(
            "driven for {took:.0} s: {} records to Kafka, {}/s",
            separated(acknowledged),
            separated(per_second)
        ));
        Ok(driven)
    }

    /// The run as the drive and the account see it.
    pub(crate) fn context(&self) -> RunContext<'_> {
        RunContext { stores: &self.settings.stores, names: &self.names, scenario: &self.scenario, plan: &self.plan }
    }

    /// Frees the namespace for the next run.
    pub(crate) async fn end(self) {
        self.live.end();
        self.reservation.release().await;
    }
}

/// Runs `work` until Ctrl-C.
pub(crate) async fn interruptible<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let result = stop.run_until_cancelled(Box::pin(work)).await;
    // Work that has the token may fail with its own error when stopped.
    result.filter(|result| result.is_ok() || !stop.is_cancelled()).unwrap_or_else(|| Err(interrupted()))
}

fn interrupted() -> Failure {
    Failure {
        exit: Exit::Interrupted,
        error: anyhow!("finish the run: it was interrupted; the next run starts from scratch"),
    }
}

fn make_plan(scenario: &Scenario) -> (Arc<Plan>, String) {
    let plan = Plan::new(scenario, &Population::new(scenario));
    let digest = plan.digest();
    (Arc::new(plan), digest)
}

async fn start_stack(settings: &Settings, live: &Live) -> Result<(), Failure> {
    let layout = Layout::new(&settings.stack).context("resolve the stack's folders")?;
    up::start(&layout, Service::DEFAULT).await?;
    live.finish_step("the local stack is up");
    Ok(())
}

/// Reserves the namespace, drops what earlier runs created and applies the schemas. A namespace that was not created
/// for runs is refused.
async fn reset_namespace(settings: &Settings, names: &Names, live: &Live) -> Result<(Reservation, Names), Failure> {
    live.step("applying the schemas");
    let stores = &settings.stores;
    let reservation = sluice_schemas::reserve(stores, names).await?;
    let groups = [names.group(&settings.ingest.group)];
    let claimed = sluice_schemas::runs::claim(stores, names, Store::ALL, &groups).await;
    let names = claimed.map_err(namespace_failure)?;
    let applied = sluice_schemas::apply::apply(stores, &names, Store::ALL).await?;
    live.finish_step(&format!("{} schema objects applied in namespace {}", applied.len(), names.namespace()));
    Ok((reservation, names))
}

/// An unusable namespace counts as incorrect usage; an unreachable store does not.
pub(crate) fn namespace_failure(error: SchemaError) -> Failure {
    let exit = if error.needs_other_namespace() { Exit::Usage } else { Exit::Invalid };
    Failure { exit, error: error.into() }
}

/// Creates the folder of this run's reports, `runs/<UTC time>/`.
pub(crate) fn create_report_folder(runs: &Path) -> anyhow::Result<PathBuf> {
    let time = chrono::Utc::now().format("%Y-%m-%dT%H-%M-%SZ").to_string();
    let names = std::iter::once(time.clone()).chain((2..).map(|n| format!("{time}-{n}")));
    for folder in names.map(|name| runs.join(name)) {
        match std::fs::create_dir(&folder) {
            // Two runs may start in the same second.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => {
                created.with_context(|| {
                    format!("create the report's folder {}; choose another with verify.runs", folder.display())
                })?;
                return Ok(folder);
            }
        }
    }
    unreachable!("the names never end")
}

/// Versions of the local stack's stores, by name; empty for other stores.
pub(crate) fn versions(settings: &Settings) -> BTreeMap<String, String> {
    let local: &[Service] = if settings.is_local() { Service::DEFAULT } else { &[] };
    local.iter().map(|service| (service.name().to_owned(), service.version().to_owned())).collect()
}

/// Seconds as the tables show them.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
