//! The drive: writes and probes at their intended starts, on real stores, in an open loop.
//! It never waits for an answer before it asks the next question, and never judges the run; the trial does.
//!
//! # Layout
//! - `clock`: waits for an intended start
//! - `writes`, `producer`, `commits`: planned records, sent to Kafka and to PostgreSQL
//! - `visibility`: watches events until ClickHouse shows them
//! - `loops`, `engine`, `timer`: threads that each ask a share of the questions, at their intended starts
//! - `probes`, `merge`: the questions in order of their intended starts
//! - `users`: users who ask one question at a time
//! - `bounds`: what the drive adds to the expected answers of live questions
//! - `outbox`: finished calls on their way to the checks, and the limits of their number
//! - `checks`: compares answers with the expected ones and records them
//! - `shared`, [`Progress`], `snapshots`: state that all tasks share, snapshots of it, and publishing them
//! - [`null`]: the generator alone, to measure it
//! - `vitals`, `priority`, `descriptors`: what the generator got from its machine, its threads' priority and its limit of open files

mod bounds;
mod checks;
mod clock;
mod commits;
mod descriptors;
mod engine;
mod loops;
mod merge;
pub mod null;
mod outbox;
mod priority;
mod probes;
mod producer;
mod progress;
mod shared;
mod snapshots;
mod timer;
mod users;
mod visibility;
mod vitals;
mod writes;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sluice_schemas::Store;
use sluice_schemas::concurrency::{blocking, join, lock};
use sluice_schemas::connect::ConnectError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::measure::{DurationHistogram, GeneratorHealth, Measurements, WriteRecorder};
use crate::plan::Totals;
use crate::question::oracle::Oracle;
use crate::run_context::RunContext;
use crate::scenario::{Access, Scenario};
use crate::shards::ShardsError;
use crate::target::QueryError;
use crate::target::connections::Connections;
use bounds::Bounds;
use checks::Reply;
use clock::Clock;
use commits::Commits;
use loops::{Loops, Running};
use outbox::Finished;
use priority::Priority;
use probes::Schedule;
use producer::Producer;
use shared::{Counters, Shared, read};
use snapshots::{with_last_progress, with_progress};
use visibility::Watching;
use vitals::Vitals;
use writes::Sent;

pub use producer::ProduceError;
pub use progress::{Phase, Progress, QuestionProgress, StoreCounts};

/// Maximum number of groups of communications in the queue for PostgreSQL.
const GROUPS: usize = 4_096;
/// Maximum time in which Kafka must acknowledge the last records.
const FLUSH: Duration = Duration::from_mins(1);
/// The same limit after a stop.
const FLUSH_STOPPED: Duration = Duration::from_secs(5);
/// Time before the drive at which a warm-up that writes ends, so that no loop starts late.
const WARM_UP_ENDS: Duration = Duration::from_millis(20);

/// The result of a drive.
#[derive(Debug)]
pub struct Driven {
    /// Questions, SLOs, PostgreSQL's transactions and Kafka's records.
    pub measured: Measurements,
    /// Whether the generator kept up.
    pub health: GeneratorHealth,
    /// Start of the drive, after its warm-up.
    pub started_at: DateTime<Utc>,
    /// The end of the drive, before the last answers and acknowledgements.
    pub ended: Instant,
    /// Time from the first write to the end of the drive: it contains a warm-up that writes.
    pub written_in: Duration,
    /// All planned records.
    pub planned: Totals,
    /// Records that their stores have acknowledged, by index of the tenant.
    pub acknowledged: Vec<Totals>,
    /// What was handed to the stores and not written.
    pub lost: Lost,
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
    /// The system has no timer for the probes.
    #[error("start the probes: {0}")]
    Timer(#[from] std::io::Error),
    /// The producer failed to start, or Kafka rejected a record for a reason other than a full queue.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The shards of the run did not start together.
    #[error(transparent)]
    Shards(#[from] ShardsError),
    /// The drive was stopped before it began.
    #[error("begin the drive: stopped")]
    Stopped,
}

/// What was handed to a store's client and not written, in a sentence for each store.
#[derive(Debug)]
pub struct Lost {
    /// Records that Kafka did not acknowledge.
    pub unacknowledged: Option<String>,
    /// Communications that PostgreSQL did not commit.
    pub uncommitted: Option<String>,
}

impl Lost {
    /// All sentences.
    pub fn sentences(&self) -> Vec<&str> {
        [&self.unacknowledged, &self.uncommitted].into_iter().flatten().map(String::as_str).collect()
    }
}

/// Drives the plan: the warm-up, then every write and probe at its intended start, until the last answer and
/// acknowledgement. `stop` ends it early; records that Kafka's client already holds are still flushed.
pub async fn drive(
    context: RunContext<'_>,
    stop: &CancellationToken,
    progress: &watch::Sender<Arc<Progress>>,
) -> Result<Driven, DriveError> {
    let preparing =
        stop.run_until_cancelled(Box::pin(async { Ok((prepare(context).await?, writers(context).await?)) }));
    let (shared, writers) = preparing.await.unwrap_or(Err(DriveError::Stopped))?;
    descriptors::raise_limit();
    let priority = Priority::raise();
    let starting = stop.run_until_cancelled(Loops::start(context, &shared)).await;
    let loops = starting.ok_or(DriveError::Stopped)??;
    let lead = if writers.is_some() { context.scenario.lead() } else { Duration::ZERO };
    if lead.is_zero() {
        warm_up(&shared, &loops, stop, progress).await?;
    }
    start_together(context, stop).await?;
    let (clock, sending, commits) = start_writes(&shared, writers, lead, stop);
    if !lead.is_zero() {
        warm_up_until(&clock, (&shared, &loops), stop, progress).await?;
    }
    let watching = Watching::start(context, &shared, &clock, stop);
    let vitals = Vitals::start(&clock);
    let (checks, checking) = start_checks(&shared, &loops);
    let mut probes = loops.run(Schedule::Drive, &clock, Some(checks)).await;
    let driving =
        async { tokio::join!(sent(sending), probes.all_started(), users_end(&shared.scenario, &clock, stop)) };
    let (sent, (), ()) = with_progress(&shared, &clock, (Phase::Driving, progress), driving).await;
    let sent = sent?;
    let (monotonic, ended) = (clock.elapsed(), Instant::now());
    let vitals = vitals.finish().await;
    let finishing = finish(&shared, probes, (commits, checking), stop);
    let watching = watching.map(Watching::finish);
    let (lost, delays) = with_last_progress(&shared, stop, progress, finishing, watching).await?;
    blocking(move || loops.join()).await;
    let (plan, part) = (sent.is_some().then(|| Arc::clone(&shared.plan)), shared.shard);
    let planned = blocking(move || plan.map_or_else(Totals::default, |plan| plan.all_totals_of(part))).await;
    let (kafka, lag) = sent.map(|Sent { kafka, lag }| (kafka, lag)).unzip();
    let vitals = (vitals, priority.is_raised());
    let health = health(&shared, planned, (lag.unwrap_or_default(), delays), vitals, monotonic);
    Ok(Driven {
        measured: measurements(&shared, kafka),
        health,
        started_at: clock.system_start(),
        ended,
        written_in: lead + monotonic,
        planned,
        acknowledged: (0..shared.plan.population().tenants().len()).map(|tenant| shared.acknowledged(tenant)).collect(),
        lost,
        stopped: stop.is_cancelled(),
    })
}

/// How late the tasks of the generator ran.
struct Delays {
    loops: DurationHistogram,
    commits: DurationHistogram,
}

/// How the generator kept up. `lag` is that of the writes.
fn health(
    shared: &Shared,
    planned: Totals,
    (lag, delays): (DurationHistogram, Delays),
    (vitals, priority_is_raised): (vitals::Measured, bool),
    monotonic: Duration,
) -> GeneratorHealth {
    GeneratorHealth {
        writes: shared.started_writes(planned),
        probes: shared.started_probes(),
        write_lag: lag,
        task_delay: delays.loops,
        commit_delay: delays.commits,
        out_of_files: read(&shared.counters.out_of_files),
        priority_is_raised,
        processor_share: vitals.processor_share,
        steal_share: vitals.steal_share,
        monotonic,
        system: vitals.deviation.apply(monotonic),
    }
}

/// Connections that commit to PostgreSQL; `None` if nothing is written.
async fn writers(context: RunContext<'_>) -> Result<Option<Connections>, DriveError> {
    let RunContext { stores, names, scenario, .. } = context;
    Ok(match context.access {
        Access::ReadWrite => Some(commits::connect(stores, names, scenario.connections.postgres_writers).await?),
        Access::ReadOnly => None,
    })
}

async fn prepare(context: RunContext<'_>) -> Result<Arc<Shared>, DriveError> {
    let RunContext { stores, names, scenario, plan, own, access, .. } = context;
    let (of_oracle, of_bounds, shard) = (Arc::clone(plan), Arc::clone(plan), context.shard());
    let asked = scenario.questions_asked();
    let oracle = tokio::task::spawn_blocking(move || Oracle::new(of_oracle.population(), &asked));
    let bounds = tokio::task::spawn_blocking(move || Bounds::new(&of_bounds, shard));
    let tenants = plan.population().tenants().len();
    Ok(Arc::new(Shared {
        scenario: scenario.clone(),
        plan: Arc::clone(plan),
        shard: context.shard(),
        oracle: join(oracle).await,
        bounds: join(bounds).await,
        own: Arc::clone(own),
        access,
        producer: match access {
            Access::ReadWrite => Some(Producer::new(stores, names, tenants, scenario.duration)?),
            Access::ReadOnly => None,
        },
        measured: Mutex::new(Measurements::new(scenario)),
        counters: Counters::for_tenants(tenants),
        transactions: Mutex::new(
            WriteRecorder::with_first_attempts(Store::Postgres, scenario.duration).after(scenario.lead()),
        ),
    }))
}

/// With other shards, waits for the instant at which all start. One that is stopped never says that it is ready.
async fn start_together(context: RunContext<'_>, stop: &CancellationToken) -> Result<(), DriveError> {
    let Some(shards) = context.shards else { return Ok(()) };
    if stop.is_cancelled() {
        return Err(DriveError::Stopped);
    }
    let started = stop.run_until_cancelled(Box::pin(shards.start_together())).await;
    Ok(started.ok_or(DriveError::Stopped)??)
}

async fn warm_up(
    shared: &Arc<Shared>,
    loops: &Loops,
    stop: &CancellationToken,
    progress: &watch::Sender<Arc<Progress>>,
) -> Result<(), DriveError> {
    let clock = Clock::start(stop);
    let asking = async { loops.run(Schedule::WarmUp, &clock, None).await.ended().await };
    with_progress(shared, &clock, (Phase::WarmUp, progress), asking).await?;
    Ok(())
}

/// The task that sends all records.
type Sending = JoinHandle<Result<Sent, ProduceError>>;

/// Waits until everything is sent; `None` if nothing is written.
async fn sent(sending: Option<Sending>) -> Result<Option<Sent>, ProduceError> {
    match sending {
        Some(sending) => join(sending).await.map(Some),
        None => Ok(None),
    }
}

/// Waits until no user begins another question. What is asked at a rate says itself when the last one is started.
async fn users_end(scenario: &Scenario, clock: &Clock, stop: &CancellationToken) {
    if !scenario.users.is_empty() {
        stop.run_until_cancelled(tokio::time::sleep_until(clock.instant(scenario.duration).into())).await;
    }
}

/// Starts the writes, `lead` before the drive; also returns the clock of the drive.
fn start_writes(
    shared: &Arc<Shared>,
    writers: Option<Connections>,
    lead: Duration,
    stop: &CancellationToken,
) -> (Clock, Option<Sending>, Option<JoinHandle<DurationHistogram>>) {
    let Some(writers) = writers else { return (Clock::start(stop), None, None) };
    let write_clock = Clock::start(stop);
    let clock = write_clock.after(lead);
    shared.producer.iter().for_each(|producer| producer.starts(clock.instant(Duration::ZERO)));
    let (groups, receiver) = mpsc::channel(GROUPS);
    let commits = tokio::spawn(Commits::new(shared, &clock, writers).run(receiver, stop.clone()));
    let shared = Arc::clone(shared);
    let sending = tokio::task::spawn_blocking(move || writes::run(&shared, &write_clock, &groups));
    (clock, Some(sending), Some(commits))
}

fn start_checks(shared: &Arc<Shared>, loops: &Loops) -> (mpsc::Sender<Vec<Finished<Reply>>>, JoinHandle<()>) {
    let (checks, answers) = mpsc::channel(outbox::BATCHES);
    let (shared, in_flight) = (Arc::clone(shared), loops.in_flight());
    (checks, tokio::task::spawn_blocking(move || checks::run(&shared, &in_flight, answers)))
}

/// The warm-up while records are written: ends just before the drive starts, whatever its last questions are doing.
async fn warm_up_until(
    drive: &Clock,
    (shared, loops): (&Arc<Shared>, &Loops),
    stop: &CancellationToken,
    progress: &watch::Sender<Arc<Progress>>,
) -> Result<(), DriveError> {
    let (end, ending) = (drive.instant(Duration::ZERO), stop.child_token());
    let end = end.checked_sub(WARM_UP_ENDS).unwrap_or(end);
    let warming = warm_up(shared, loops, &ending, progress);
    let until_end = async {
        tokio::select! {
            () = tokio::time::sleep_until(end.into()) => {}
            () = stop.cancelled() => {}
        }
        ending.cancel();
    };
    let (warmed, ()) = tokio::join!(warming, until_end);
    warmed
}

/// Waits for every answer and acknowledgement; returns what was not written, and how late the tasks of the generator ran.
async fn finish(
    shared: &Arc<Shared>,
    probes: Running,
    (commits, checking): (Option<JoinHandle<DurationHistogram>>, JoinHandle<()>),
    stop: &CancellationToken,
) -> Result<(Lost, Delays), DriveError> {
    let loops = probes.ended().await?;
    join(checking).await;
    let commits = match commits {
        Some(commits) => join(commits).await,
        None => DurationHistogram::default(),
    };
    let flush_timeout = if stop.is_cancelled() { FLUSH_STOPPED } else { FLUSH };
    let producing = Arc::clone(shared);
    let flush = move || producing.producer.as_ref().map_or(Ok(()), |producer| producer.flush(flush_timeout));
    let flushed = blocking(flush).await;
    let uncommitted = read(&shared.counters.uncommitted);
    let uncommitted =
        (uncommitted > 0).then(|| format!("write to PostgreSQL: {uncommitted} communications were not committed"));
    let lost = Lost { unacknowledged: flushed.err().map(|error| error.to_string()), uncommitted };
    Ok((lost, Delays { loops, commits }))
}

/// Everything that was measured; records that Kafka did not acknowledge have failed.
fn measurements(shared: &Shared, kafka: Option<WriteRecorder>) -> Measurements {
    let kafka = kafka.zip(shared.producer.as_ref()).map(|(mut kafka, producer)| {
        kafka.add_deliveries(&producer.deliveries());
        kafka
    });
    let writes = kafka.into_iter().flat_map(|kafka| [lock(&shared.transactions).clone(), kafka]).collect();
    Measurements { writes, ..lock(&shared.measured).clone() }
}

#[cfg(test)]
mod tests;
