//! The drive: writes and probes at their intended starts, on real stores, in an open loop.
//! It never waits for an answer before it asks the next question, and never judges; the verdict does.
//!
//! # Layout
//! - `clock`: waits for an intended start
//! - `writes`, `producer`, `commits`: planned records, sent to Kafka and to PostgreSQL
//! - `probes`, `merge`: the questions in order of their intended starts
//! - `users`: those who ask one question after the other
//! - `checks`: compares answers with the expected ones and records them
//! - `shared`, [`Progress`]: state that all tasks share, and snapshots of it for the terminal
//! - `vitals`, `priority`: what the generator got from its machine, and its threads' priority

mod checks;
mod clock;
mod commits;
mod merge;
mod priority;
mod probes;
mod producer;
mod progress;
mod shared;
mod users;
mod vitals;
mod writes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_schemas::Store;
use sluice_schemas::concurrency::{blocking, join, lock};
use sluice_schemas::connect::ConnectError;
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::measure::{GeneratorHealth, Measurements, WriteRecorder};
use crate::plan::Totals;
use crate::question::oracle::Oracle;
use crate::run_context::RunContext;
use crate::target::{QueryError, Targets};
use checks::Answered;
use clock::Clock;
use commits::Commits;
use priority::Priority;
use probes::{MAX_IN_FLIGHT, Probes};
use producer::Producer;
use shared::{Counters, Shared, read};
use vitals::Vitals;
use writes::Sent;

pub use producer::ProduceError;
pub use progress::{Phase, Progress, SloProgress};

/// Maximum number of groups of communications in the queue for PostgreSQL.
const GROUPS: usize = 4_096;
/// Maximum time in which Kafka must acknowledge the last records.
const FLUSH: Duration = Duration::from_mins(1);
/// The same limit after a stop.
const FLUSH_STOPPED: Duration = Duration::from_secs(5);
/// Interval between two snapshots of the progress.
const SNAPSHOT: Duration = Duration::from_millis(250);

/// The result of a drive.
#[derive(Debug)]
pub struct Driven {
    /// Questions, SLOs, PostgreSQL's transactions and Kafka's records.
    pub measured: Measurements,
    /// Whether the generator kept up.
    pub health: GeneratorHealth,
    /// All planned records.
    pub planned: Totals,
    /// Records that their stores have acknowledged, by index of the tenant.
    pub acknowledged: Vec<Totals>,
    /// One sentence for records that Kafka did not acknowledge, and one for those that PostgreSQL did not commit.
    pub lost: Vec<String>,
    /// Whether the drive was stopped early.
    pub stopped: bool,
}

/// Why a drive did not run.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A store could not be reached.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// PostgreSQL could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The producer failed to start, or Kafka rejected a record for a reason other than a full queue.
    #[error(transparent)]
    Produce(#[from] ProduceError),
}

/// Drives the plan: the warm-up, then every write and probe at its intended start, until the last answer and
/// acknowledgement. `stop` ends it early; records that Kafka's client already holds are still flushed.
pub async fn drive(
    context: RunContext<'_>,
    stop: &CancellationToken,
    progress: &watch::Sender<Progress>,
) -> Result<Driven, DriveError> {
    let shared = prepare(context).await?;
    let writers = commits::pool(context.stores, context.names).await?;
    let priority = Priority::raise();
    let lead = context.scenario.lead();
    if lead.is_zero() {
        warm_up(&shared, stop, progress).await;
    }
    let (clock, sending, commits) = start_writes(&shared, writers, lead, stop);
    if !lead.is_zero() {
        warm_up_until(&clock, &shared, stop, progress).await;
    }
    let vitals = Vitals::start();
    let tracker = TaskTracker::new();
    let (answered, checks) = start_checks(&shared);
    users::start(&shared, &clock, &answered, &tracker, stop);
    let probes = start_probes(&shared, &clock, Some(answered), &tracker);
    let driving = async { tokio::join!(join(sending), join(probes)) };
    let (sent, ()) = with_progress(&shared, &clock, (Phase::Driving, progress), driving).await;
    let sent = sent?;
    let (monotonic, system) = (clock.elapsed(), clock.system_elapsed());
    let vitals = vitals.finish().await;
    let finishing = finish(&shared, &tracker, (commits, checks), stop);
    let lost = with_progress(&shared, &Clock::start(stop), (Phase::Flushing, progress), finishing).await;
    let plan = Arc::clone(&shared.plan);
    let planned = blocking(move || plan.all_totals()).await;
    let Sent { kafka, lag } = sent;
    let health = GeneratorHealth {
        writes: shared.started_writes(planned),
        probes: shared.started_probes(),
        write_lag: lag,
        task_delay: vitals.task_delay,
        priority_is_raised: priority.is_raised(),
        processor_share: vitals.processor_share,
        steal_share: vitals.steal_share,
        monotonic,
        system,
    };
    let tenants = 0..shared.plan.population().tenants().len();
    Ok(Driven {
        measured: measurements(&shared, kafka),
        health,
        planned,
        acknowledged: tenants.map(|tenant| shared.acknowledged(tenant)).collect(),
        lost,
        stopped: stop.is_cancelled(),
    })
}

async fn prepare(context: RunContext<'_>) -> Result<Arc<Shared>, DriveError> {
    let RunContext { stores, names, scenario, plan } = context;
    let population = plan.population().clone();
    let oracle = tokio::task::spawn_blocking(move || Oracle::new(&population));
    let targets = Targets::connect(stores, names).await?;
    let tenants = plan.population().tenants().len();
    Ok(Arc::new(Shared {
        scenario: scenario.clone(),
        plan: Arc::clone(plan),
        oracle: join(oracle).await,
        targets,
        producer: Producer::new(stores, names, tenants, scenario.duration)?,
        measured: Mutex::new(Measurements::new(scenario)),
        counters: Counters::for_tenants(tenants),
        transactions: Mutex::new(
            WriteRecorder::with_first_attempts(Store::Postgres, scenario.duration).after(scenario.lead()),
        ),
    }))
}

async fn warm_up(shared: &Arc<Shared>, stop: &CancellationToken, progress: &watch::Sender<Progress>) {
    let (clock, tracker) = (Clock::start(stop), TaskTracker::new());
    let probes = join(start_probes(shared, &clock, None, &tracker));
    with_progress(shared, &clock, (Phase::WarmUp, progress), probes).await;
    tracker.close();
    tokio::select! {
        () = tracker.wait() => {}
        () = stop.cancelled() => {}
    }
}

/// Starts the writes, `lead` before the drive; also returns the clock of the drive.
fn start_writes(
    shared: &Arc<Shared>,
    writers: PgPool,
    lead: Duration,
    stop: &CancellationToken,
) -> (Clock, JoinHandle<Result<Sent, ProduceError>>, JoinHandle<()>) {
    let write_clock = Clock::start(stop);
    let clock = write_clock.after(lead);
    let (groups, receiver) = mpsc::channel(GROUPS);
    let commits = tokio::spawn(Commits::new(shared, &clock, writers).run(receiver, stop.clone()));
    let shared = Arc::clone(shared);
    let sending = tokio::task::spawn_blocking(move || writes::run(&shared, &write_clock, &groups));
    (clock, sending, commits)
}

fn start_checks(shared: &Arc<Shared>) -> (mpsc::Sender<Answered>, JoinHandle<()>) {
    let (answered, answers) = mpsc::channel(checks::WAITING);
    let shared = Arc::clone(shared);
    (answered, tokio::task::spawn_blocking(move || checks::run(&shared, answers)))
}

/// The warm-up while records are written: ends when the drive starts, whatever its last questions are doing.
async fn warm_up_until(
    drive: &Clock,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
    progress: &watch::Sender<Progress>,
) {
    let start = drive.instant(Duration::ZERO).into();
    let until_start = async {
        drop(tokio::time::timeout_at(start, warm_up(shared, stop, progress)).await);
        tokio::time::sleep_until(start).await;
    };
    tokio::select! {
        () = until_start => {}
        () = stop.cancelled() => {}
    }
}

fn start_probes(
    shared: &Arc<Shared>,
    clock: &Clock,
    checks: Option<mpsc::Sender<Answered>>,
    tracker: &TaskTracker,
) -> JoinHandle<()> {
    let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    let probes = Probes { shared: Arc::clone(shared), clock: clock.clone(), in_flight, checks };
    let (runtime, tracker) = (Handle::current(), tracker.clone());
    tokio::task::spawn_blocking(move || probes.run(&runtime, &tracker))
}

/// Publishes snapshots while `work` runs.
async fn with_progress<T>(
    shared: &Arc<Shared>,
    clock: &Clock,
    (phase, progress): (Phase, &watch::Sender<Progress>),
    work: impl Future<Output = T>,
) -> T {
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(SNAPSHOT);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => drop(progress.send_replace(shared.snapshot(phase, clock.elapsed()))),
        }
    }
}

/// Waits for everything in flight; returns [`Driven::lost`].
async fn finish(
    shared: &Arc<Shared>,
    probes: &TaskTracker,
    (commits, checks): (JoinHandle<()>, JoinHandle<()>),
    stop: &CancellationToken,
) -> Vec<String> {
    probes.close();
    let answered = async {
        probes.wait().await;
        join(checks).await;
    };
    tokio::select! {
        () = answered => {}
        () = stop.cancelled() => {}
    }
    join(commits).await;
    let flush_timeout = if stop.is_cancelled() { FLUSH_STOPPED } else { FLUSH };
    let producing = Arc::clone(shared);
    let flushed = blocking(move || producing.producer.flush(flush_timeout)).await;
    let uncommitted = read(&shared.counters.uncommitted);
    let uncommitted =
        (uncommitted > 0).then(|| format!("write to PostgreSQL: {uncommitted} communications were not committed"));
    flushed.err().map(|error| error.to_string()).into_iter().chain(uncommitted).collect()
}

/// Everything that was measured; records that Kafka did not acknowledge have failed.
fn measurements(shared: &Shared, mut kafka: WriteRecorder) -> Measurements {
    kafka.add_failures(&shared.producer.failed());
    let writes = vec![lock(&shared.transactions).clone(), kafka];
    Measurements { writes, ..lock(&shared.measured).clone() }
}
