//! What `verify` and `load` share: the options, and how a scenario becomes an open session. The steps themselves are
//! loadgen's. It never judges the run.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use clap::Args;
use sluice_loadgen::{
    custom::CustomError,
    observer::{Observer, Observers},
    plan::Shard,
    report::{self, Header, Machine},
    scenario::Access,
    session::{self, Planning, Session, SessionError},
    trial::{Trial, TrialError},
    verdict,
};
use sluice_schemas::SchemaError;
use sluice_stack::{Layout, Service};
use tokio_util::sync::CancellationToken;

use crate::{
    arguments,
    exit::{Exit, Failure, OrExit},
    exports::Exports,
    live::Live,
    scenarios::{self, Choice, Chosen},
    settings::{Overrides, Settings},
    signals, up,
    worker::Worker,
};

/// What a run drops, for `--help`.
const DROPS: &str = "\
What is dropped: before a run, everything that earlier runs created in its namespace is dropped without confirmation: \
their topics, consumer groups, tables, indices, keys, search indexes and empty buckets. Each store has a marker that the \
namespace was created for runs, and only objects with the namespace's mark, or in its inventory on Kafka, are dropped. \
Databases and other objects stay. A namespace that contains objects but no marker is refused with exit code 4, and \
nothing is dropped. What a run creates stays until the next run. If that has the same population, PostgreSQL, ClickHouse \
and Elasticsearch keep its records, and only what was added since is deleted; --reload drops them too.";

/// Options of a run.
#[derive(Debug, Args)]
#[command(after_help = DROPS)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    choice: Choice,
    /// Don't start the local stack: the stores of sluice.toml are already running
    #[arg(long)]
    no_up: bool,
    /// Load the population even if an earlier run of the namespace has loaded the same one
    #[arg(long)]
    reload: bool,
    /// Print plain lines, as without a terminal
    #[arg(long)]
    plain: bool,
    /// Serve the metrics of the drive to Prometheus at this address; a port alone is one of this machine
    #[arg(long, value_name = "ADDRESS", value_parser = arguments::listen_address)]
    metrics: Option<SocketAddr>,
    /// Push the metrics of the drive to the OpenTelemetry collector at this address, as in http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
}

/// Options of a run of which only a shard may be driven.
#[derive(Debug, Args)]
pub(crate) struct ShardOptions {
    #[command(flatten)]
    pub(crate) run: RunOptions,
    /// Drive only part K of N of the plan, as in 2/4, together with the other shards. Shard 1 prepares the stores, and
    /// for `verify` runs the worker and accounts for all; the others wait for it. `sluice report merge` merges the reports
    #[arg(long, value_name = "K/N", default_value_t = Shard::WHOLE, hide_default_value = true)]
    pub(crate) shard: Shard,
}

impl RunOptions {
    /// Reads the scenario that is chosen, for a run with that access.
    pub(crate) fn choose(&self, access: Access) -> Result<Chosen, Failure> {
        scenarios::choose(&self.choice, Some(access)).or_exit(Exit::Usage)
    }
}

/// A run: an open session, and the terminal that shows it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) settings: Settings,
    pub(crate) session: Session,
    pub(crate) live: Arc<Live>,
    observers: Observers,
    exports: Exports,
    pub(crate) stop: CancellationToken,
}

impl Run {
    /// Does everything before the first drive of a shard.
    pub(crate) async fn prepare(
        options: &RunOptions,
        chosen: Chosen,
        shard: Shard,
        settings: Settings,
    ) -> Result<Self, Failure> {
        session::check_age(&chosen.scenario).map_err(session_failure)?;
        let runs = settings.verify.runs.clone();
        in_runs_folder(&runs, Box::pin(Self::prepared(options, chosen, shard, settings))).await
    }

    async fn prepared(options: &RunOptions, chosen: Chosen, shard: Shard, settings: Settings) -> Result<Self, Failure> {
        let begun = begin(options, chosen, &settings).await?;
        let Begun { planning, live, observers, exports, stop } = begun;
        let planning = planning.reloading(options.reload).of_shard(shard);
        if !options.no_up && settings.is_local() && shard.is_first() {
            interruptible(&stop, start_stack(&settings, &live)).await?;
        }
        let groups = [settings.verify.namespace.group(&settings.ingest.group)];
        let stores = (&settings.stores, &settings.verify.namespace);
        let session = Box::pin(Session::open(planning, stores, &groups, &observers, &stop)).await;
        let session = session.map_err(session_failure)?;
        Ok(Self { settings, session, live, observers, exports, stop })
    }

    /// Whom the run tells what it does.
    pub(crate) fn observer(&self) -> &dyn Observer {
        &self.observers
    }

    /// Does everything before the questions to a deployment as it is, which has the platform's own names.
    pub(crate) async fn attach(options: &RunOptions, chosen: Chosen, settings: Settings) -> Result<Self, Failure> {
        let runs = settings.verify.runs.clone();
        in_runs_folder(&runs, Box::pin(Self::attached(options, chosen, settings))).await
    }

    async fn attached(options: &RunOptions, chosen: Chosen, settings: Settings) -> Result<Self, Failure> {
        let begun = begin(options, chosen, &settings).await?;
        let Begun { planning, live, observers, exports, stop } = begun;
        let names = settings.names();
        let session = Session::attach(planning, (&settings.stores, &names), &observers, &stop);
        let session = Box::pin(session).await.map_err(session_failure)?;
        Ok(Self { settings, session, live, observers, exports, stop })
    }

    /// A trial of the session, shown on the terminal.
    pub(crate) fn trial(&self) -> Trial<'_> {
        Trial::new(&self.session, &self.observers, &self.stop)
    }

    /// Starts the ingest worker, which logs into the folder.
    pub(crate) async fn start_worker(&self, overrides: &Overrides, folder: &Path) -> Result<Worker, Failure> {
        self.live.step_started("starting the ingest worker");
        let starting = async { Ok(Worker::start(&self.settings, overrides, folder).await?) };
        let worker = interruptible(&self.stop, starting).await?;
        self.live.step_finished(&format!("ingest worker ready, {}", worker.describe()));
        Ok(worker)
    }

    /// Does what writes a report, in a new folder. What is interrupted before it has a report leaves none: the worker's log alone
    /// says little.
    pub(crate) async fn in_report_folder<T>(
        &self,
        work: impl AsyncFnOnce(&Path) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let folder = create_report_folder(&self.settings.verify.runs)?;
        let done = Box::pin(work(&folder)).await;
        let is_interrupted = done.as_ref().is_err_and(|failure| failure.exit == Exit::Interrupted);
        let has_report = [report::FILE_NAME, report::SEARCH_FILE_NAME].iter().any(|name| folder.join(name).exists());
        if is_interrupted && !has_report {
            drop(std::fs::remove_dir_all(&folder));
        }
        done
    }

    /// Frees the namespace for the next run.
    pub(crate) async fn end(self) {
        self.live.end();
        self.exports.end().await;
        self.session.close().await;
    }
}

/// What a run has before it touches a store.
struct Begun {
    planning: Planning,
    live: Arc<Live>,
    observers: Observers,
    exports: Exports,
    stop: CancellationToken,
}

/// Does what comes before a run with the folder of its reports, so that it is known that they can be written. A run that is refused
/// leaves no folder behind.
async fn in_runs_folder<T>(runs: &Path, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let is_new = !runs.exists();
    std::fs::create_dir_all(runs)
        .with_context(|| format!("create {}; choose another folder with verify.runs", runs.display()))
        .or_exit(Exit::Usage)?;
    let done = work.await;
    if done.is_err() && is_new {
        // Another run may have written into it meanwhile.
        drop(std::fs::remove_dir(runs));
    }
    done
}

/// Describes the scenario, and starts to plan it. Touches no store.
async fn begin(
    options: &RunOptions,
    Chosen { scenario, warning }: Chosen,
    settings: &Settings,
) -> Result<Begun, Failure> {
    let stop = signals::cancellation()?;
    let live = Arc::new(Live::start(options.plain));
    live.set_scenario(&scenario.name);
    live.print(&format!("scenario {}", scenario.title()));
    let past = report::past(&settings.verify.runs, &scenario);
    for warning in verdict::warnings(&scenario, &past.slos).into_iter().chain(warning) {
        live.print(&format!("warning: {warning}"));
    }
    let metrics = options.metrics.or(settings.verify.metrics);
    let otlp = options.otlp.as_deref().or(settings.verify.otlp.as_deref());
    let exports = Exports::start(metrics, otlp).await.or_exit(Exit::Usage)?;
    if let Some(text) = exports.describe() {
        live.print(&text);
    }
    let observers = Observers(vec![Arc::clone(&live) as Arc<dyn Observer>, exports.observer()]);
    Ok(Begun { planning: Planning::start(&scenario), live, observers, exports, stop })
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
        error: anyhow!("finish the run: it was interrupted and leaves no report; a population that is loaded is kept"),
    }
}

/// The failure of a run that was interrupted after its drive, `doing` what, and has a report.
pub(crate) fn interrupted_after_drive(doing: &str) -> Failure {
    Failure {
        exit: Exit::Interrupted,
        error: anyhow!(
            "finish the run: it was interrupted while {doing}; its report has what the drive measured, and no account"
        ),
    }
}

async fn start_stack(settings: &Settings, live: &Live) -> Result<(), Failure> {
    let layout = Layout::new(&settings.stack).context("resolve the stack's folders")?;
    up::start(&layout, Service::DEFAULT).await?;
    live.step_finished("the local stack is up");
    Ok(())
}

fn session_failure(error: SessionError) -> Failure {
    match error {
        SessionError::Stopped => interrupted(),
        SessionError::Schema(error) => namespace_failure(error),
        SessionError::Shards(error) if error.is_usage() => Failure { exit: Exit::Usage, error: error.into() },
        SessionError::TooOld(_)
        | SessionError::Outdated(_)
        | SessionError::Missing(_)
        | SessionError::Own(CustomError::Refused { .. }) => Failure { exit: Exit::Usage, error: error.into() },
        other => other.into(),
    }
}

/// The failure of a trial.
pub(crate) fn trial_failure(error: TrialError) -> Failure {
    match error {
        TrialError::Stopped => interrupted(),
        error => error.into(),
    }
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

/// What a report says about the run.
pub(crate) fn header(run: &Run, started_at: DateTime<Utc>) -> anyhow::Result<Header> {
    Ok(Header {
        started_at,
        scenario: run.session.scenario().clone(),
        digest: run.session.digest().to_owned(),
        machine: Machine::this(),
        stores: run.session.versions().clone(),
        shard: Some(run.session.context().shard()).filter(|shard| !shard.is_whole()),
        merged_shards: None,
        config: serde_json::to_value(&run.settings).context("write the configuration into the report")?,
    })
}
