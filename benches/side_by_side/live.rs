//! Records that arrive at a steady rate while a worker is at work, and the worker itself.
//! A rate and a span go in; what was sent when comes out. Open loop: what is late is sent at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::child::Program;
use crate::contender::sluice::{self, Settings};
use crate::fill;
use crate::http;
use crate::options::Common;
use crate::race::Lap;
use crate::records::Record;
use crate::world::{Contents, SLUICE, World};

/// Rows of a batch: the default.
const BATCH: u64 = 10_000;

/// Records on their way.
pub(crate) struct Producing {
    sent: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<Vec<Instant>>>,
}

impl Producing {
    /// Begins to send what `next` makes for each moment.
    pub(crate) fn start(
        world: &World,
        rate: u32,
        span: Duration,
        mut next: impl FnMut(DateTime<Utc>) -> anyhow::Result<Record> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let producer = fill::producer(world, Duration::from_millis(5))?;
        let topic = world.topic();
        let sent = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let mut tick = interval(Duration::from_millis(2));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (start, mut sent_at) = (Instant::now(), Vec::new());
            loop {
                tick.tick().await;
                let passed = start.elapsed().min(span);
                let due = (passed.as_secs_f64() * f64::from(rate)) as usize;
                while sent_at.len() < due {
                    let now = Instant::now();
                    fill::send(&producer, &topic, &next(Utc::now())?)?;
                    sent_at.push(now);
                }
                counted.store(sent_at.len() as u64, Ordering::Relaxed);
                if passed == span {
                    break;
                }
            }
            tokio::task::spawn_blocking(move || fill::flush(&producer)).await??;
            Ok(sent_at)
        });
        Ok(Self { sent, task })
    }

    /// How many were sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether the last one was sent and acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// When each of them was sent.
    pub(crate) async fn done(self) -> anyhow::Result<Vec<Instant>> {
        self.task.await.context("produce at a steady rate")?
    }
}

/// A worker on an empty topic and an empty table, ready for what comes.
pub(crate) async fn worker(options: &Common, timer: Duration) -> anyhow::Result<(World, Lap, Program)> {
    let world = World::up(options, "live").await?;
    let (lap, program) = worker_on(&world, timer).await?;
    Ok((world, lap, program))
}

/// The same on stores that are up.
pub(crate) async fn worker_on(world: &World, timer: Duration) -> anyhow::Result<(Lap, Program)> {
    world.reset().await?;
    let lap = Lap::new(0, Contents { rows: 0, distinct: 0, digest: 0 });
    world.create(&lap.table).await?;
    let settings = Settings { batch: BATCH, timer, clickhouse: None };
    let mut program = Program::start(sluice::command(world, &lap, &settings, &[SLUICE])?, &lap.log(world))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_ready(world).await {
        program.check()?;
        if Instant::now() > deadline {
            bail!("start the worker: not ready after 30 s; see {}", lap.log(world).display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.calm().await?;
    Ok((lap, program))
}

async fn is_ready(world: &World) -> bool {
    let Ok(answer) = http::client().get(sluice::page(world, "readyz")).send().await else { return false };
    answer.status().is_success() && answer.text().await.is_ok_and(|body| body.trim_end() == "ready")
}

/// Waits until so many rows are there, for at most so long.
pub(crate) async fn all_there(world: &World, lap: &Lap, rows: u64, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let seen = world.count(&lap.table).await?;
        if seen >= rows {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("wait for records: {seen} of {rows} are there");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Milliseconds from a record's own time until the server took it in, by its clock, at p50, p95 and p99 of the rows that meet
/// a condition.
pub(crate) async fn servers_times(world: &World, lap: &Lap, condition: &str) -> anyhow::Result<Vec<f64>> {
    let query = format!(
        "SELECT quantilesExact(0.5, 0.95, 0.99)(toFloat64(toUnixTimestamp64Milli(_ingested_at) - \
         toUnixTimestamp64Milli(timestamp))) FROM {} WHERE {condition}",
        lap.table
    );
    world.clickhouse.query(&query).fetch_one().await.context("ask for the server's times")
}
