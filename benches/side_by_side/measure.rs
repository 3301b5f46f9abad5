//! Measures one program in one trial: the time from its start until the last row is visible, and its cost. It never repeats a
//! trial.
//!
//! The last batches of a topic are not full and wait for their timer, which must not affect the measured speed. A program that
//! has been idle for three seconds is therefore asked to finish, and that idle time is not counted.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::contender::{Contender, Running};
use crate::group::AssignmentWatch;
use crate::testbed::Testbed;
use crate::trial::{Measured, Trial};

/// A program that is idle for this long is asked to finish. Longer than the second that librdkafka waits when its queue was full.
const IDLE_LIMIT: Duration = Duration::from_secs(3);
/// Interval over which CPU usage decides whether a program is active.
const SAMPLE: Duration = Duration::from_millis(500);
/// A program that uses at most 1/10 of the interval as CPU time is idle.
const IDLE_DIVISOR: u32 = 10;
/// How long a program may take to write its open batches.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a program on the trial's table, which is created first and verified and dropped afterwards.
pub(crate) async fn measure(testbed: &Testbed, contender: &Contender, trial: &Trial) -> anyhow::Result<Measured> {
    testbed.create(&trial.table).await?;
    if let Some(check) = trial.check {
        testbed.execute(&format!("ALTER TABLE {} ADD CONSTRAINT trial_check CHECK {check}", trial.table)).await?;
    }
    let measured = measure_unverified(testbed, contender, trial).await?;
    let (rows, wrong) = trial.verify(testbed).await?;
    Ok(Measured { rows, wrong, ..measured })
}

/// Runs a program on an existing table; does not verify its rows and does not drop the table.
pub(crate) async fn measure_unverified(
    testbed: &Testbed,
    contender: &Contender,
    trial: &Trial,
) -> anyhow::Result<Measured> {
    testbed.wait_until_idle().await?;
    let group = AssignmentWatch::start(&testbed.stores, &contender.group(testbed, trial))?;
    let (before, start) = (testbed.cpu(), Instant::now());
    let mut running = contender.start(testbed, trial).await?;
    let duration = wait_for_rows(testbed, trial, &mut running, &group, start).await;
    let [clickhouse, kafka] = testbed.cpu();
    let usage = running.usage();
    running.stop(testbed).await?;
    Ok(Measured {
        seconds: duration?.as_secs_f64(),
        join: group.assigned_at().map(|at| (at - start).as_secs_f64()),
        worker_cpu: usage.map(|(cpu, _)| cpu.as_secs_f64()),
        worker_peak: usage.map(|(_, peak)| peak),
        clickhouse_cpu: clickhouse.saturating_sub(before[0]).as_secs_f64(),
        kafka_cpu: kafka.saturating_sub(before[1]).as_secs_f64(),
        rows: 0,
        wrong: None,
    })
}

/// When a program was last active: rows arrived, or it used the CPU.
pub(crate) struct Activity {
    last_active: Instant,
    sampled: Instant,
    cpu: Option<Duration>,
}

impl Activity {
    pub(crate) fn new(now: Instant) -> Self {
        Self { last_active: now, sampled: now, cpu: None }
    }

    /// Returns how long the program has been idle. Without a CPU time, it counts as active.
    pub(crate) fn idle_for(&mut self, now: Instant, has_new_rows: bool, cpu: Option<Duration>) -> Duration {
        if has_new_rows {
            self.last_active = now;
        }
        if now - self.sampled >= SAMPLE {
            let used = cpu.zip(self.cpu).map(|(cpu, before)| cpu.saturating_sub(before));
            if used.is_none_or(|used| used > (now - self.sampled) / IDLE_DIVISOR) {
                self.last_active = now;
            }
            (self.sampled, self.cpu) = (now, cpu);
        }
        now - self.last_active
    }
}

/// Polls the table until it is complete, or until the program has exceeded its time to finish. Returns the time since `start`
/// without the idle time before the program was asked to finish.
async fn wait_for_rows(
    testbed: &Testbed,
    trial: &Trial,
    running: &mut Running,
    group: &AssignmentWatch,
    start: Instant,
) -> anyhow::Result<Duration> {
    let mut activity = Activity::new(start);
    let mut seen = 0;
    let mut finishing_since: Option<Instant> = None;
    let mut idle_at_end = Duration::ZERO;
    loop {
        if finishing_since.is_none() {
            running.check()?;
        }
        let rows = testbed.count(&trial.table).await?;
        let now = Instant::now();
        let has_new_rows = rows > seen;
        if has_new_rows {
            group.stop();
            seen = rows;
        }
        let idle = activity.idle_for(now, has_new_rows, running.cpu());
        let is_overdue = finishing_since.is_some_and(|since| now - since > FINISH_TIMEOUT);
        if rows >= trial.events || is_overdue {
            return Ok((now - start).saturating_sub(idle_at_end));
        }
        if now - start > trial.deadline() {
            bail!("wait for the rows: {rows} of {} are in the table after {:?}", trial.events, trial.deadline());
        }
        // A broker that has just started may need up to IDLE_LIMIT to assign the partitions.
        let assigned_long_enough = group.assigned_at().is_some_and(|at| now.saturating_duration_since(at) > IDLE_LIMIT);
        if finishing_since.is_none() && idle > IDLE_LIMIT && assigned_long_enough {
            running.finish();
            (finishing_since, idle_at_end) = (Some(now), idle);
        }
        tokio::time::sleep(until_next_poll(rows, trial.events, now - start)).await;
    }
}

/// Polling loads ClickHouse, so it is rare until the table is almost complete.
fn until_next_poll(rows: u64, events: u64, elapsed: Duration) -> Duration {
    const MIN_INTERVAL: Duration = Duration::from_millis(15);
    const MAX_INTERVAL: Duration = Duration::from_millis(250);
    if rows == 0 {
        return Duration::from_millis(100);
    }
    let remaining = elapsed.as_secs_f64() * (events.saturating_sub(rows)) as f64 / rows as f64;
    Duration::from_secs_f64(remaining / 8.0).clamp(MIN_INTERVAL, MAX_INTERVAL)
}
