//! A producer that sends records at a steady rate, and a worker that consumes them. Open loop: overdue records are sent at
//! once. The producer never waits for the worker.

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
use crate::records::Record;
use crate::testbed::{Contents, SLUICE, Testbed};
use crate::trial::Trial;

/// Rows of a batch, as by default.
const BATCH: u64 = 10_000;

/// Sends records at a steady rate in the background.
pub(crate) struct SteadyProducer {
    sent: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<Vec<Instant>>>,
}

impl SteadyProducer {
    /// Starts sending the records that `next` returns for the current time, at `rate` per second for `span`.
    pub(crate) fn start(
        testbed: &Testbed,
        rate: u32,
        span: Duration,
        mut next: impl FnMut(DateTime<Utc>) -> anyhow::Result<Record> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let producer = fill::producer(testbed, Duration::from_millis(5))?;
        let topic = testbed.topic();
        let sent = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let mut tick = interval(Duration::from_millis(2));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (start, mut sent_at) = (Instant::now(), Vec::new());
            loop {
                tick.tick().await;
                let elapsed = start.elapsed().min(span);
                let due = (elapsed.as_secs_f64() * f64::from(rate)) as usize;
                while sent_at.len() < due {
                    let now = Instant::now();
                    fill::send(&producer, &topic, &next(Utc::now())?)?;
                    sent_at.push(now);
                }
                counted.store(sent_at.len() as u64, Ordering::Relaxed);
                if elapsed == span {
                    break;
                }
            }
            tokio::task::spawn_blocking(move || fill::flush(&producer)).await??;
            Ok(sent_at)
        });
        Ok(Self { sent, task })
    }

    /// Number of records sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether the last record has been sent and acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until the last record has been acknowledged; returns when each record was sent.
    pub(crate) async fn wait_until_done(self) -> anyhow::Result<Vec<Instant>> {
        self.task.await.context("produce at a steady rate")?
    }
}

/// A testbed with an empty topic, and a ready worker on an empty table.
pub(crate) async fn testbed_with_worker(
    options: &Common,
    timer: Duration,
) -> anyhow::Result<(Testbed, Trial, Program)> {
    let testbed = Testbed::up(options, "live").await?;
    let (trial, program) = start_worker(&testbed, timer).await?;
    Ok((testbed, trial, program))
}

/// Empties the topic and starts a worker on an empty table; returns once it is ready.
pub(crate) async fn start_worker(testbed: &Testbed, timer: Duration) -> anyhow::Result<(Trial, Program)> {
    testbed.reset().await?;
    let trial = Trial::new(0, Contents { rows: 0, distinct: 0, digest: 0 });
    testbed.create(&trial.table).await?;
    let settings = Settings { batch: BATCH, timer, clickhouse: None };
    let mut program = Program::start(sluice::command(testbed, &trial, &settings, &[SLUICE])?, &trial.log(testbed))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_ready(testbed).await {
        program.check()?;
        if Instant::now() > deadline {
            bail!("start the worker: not ready after 30 s; see {}", trial.log(testbed).display());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    testbed.wait_until_idle().await?;
    Ok((trial, program))
}

async fn is_ready(testbed: &Testbed) -> bool {
    let Ok(response) = http::client().get(sluice::page(testbed, "readyz")).send().await else { return false };
    response.status().is_success() && response.text().await.is_ok_and(|body| body.trim_end() == "ready")
}

/// Waits until the table has `rows` rows, for at most `timeout`.
pub(crate) async fn wait_for_rows(
    testbed: &Testbed,
    trial: &Trial,
    rows: u64,
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let seen = testbed.count(&trial.table).await?;
        if seen >= rows {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("wait for records: {seen} of {rows} are in the table");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Milliseconds from a record's timestamp until the server received it, by the server's clock, at p50, p95 and p99 of the rows
/// that meet the condition.
pub(crate) async fn server_latencies(testbed: &Testbed, trial: &Trial, condition: &str) -> anyhow::Result<Vec<f64>> {
    let query = format!(
        "SELECT quantilesExact(0.5, 0.95, 0.99)(toFloat64(toUnixTimestamp64Milli(_ingested_at) - \
         toUnixTimestamp64Milli(timestamp))) FROM {} WHERE {condition}",
        trial.table
    );
    testbed.clickhouse.query(&query).fetch_one().await.context("query the server's latencies")
}
