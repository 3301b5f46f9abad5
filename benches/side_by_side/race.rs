//! One timed run of one program: from its start until the last row can be seen, with what it cost.
//!
//! The last batches of a topic are not full and wait for their timer, which says nothing about speed: a program that has
//! had nothing to do for three seconds is asked to finish, and that time is left out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;

use crate::contender::{Contender, Running};
use crate::group::Group;
use crate::world::{Contents, World};

/// Longer than the second that librdkafka waits after it found its queue full.
const STANDSTILL: Duration = Duration::from_secs(3);
/// Over so long a time it is seen whether a program works.
const BEAT: Duration = Duration::from_millis(500);
/// Part of that time that a program without work uses at most.
const IDLE_SHARE: u32 = 10;
/// How long a program may take to write the rest.
const REST: Duration = Duration::from_secs(30);
/// Slowest program that is waited for, in events per second.
const SLOWEST: u64 = 10_000;

/// Where a run takes place and what it must bring about.
#[derive(Debug, Clone)]
pub(crate) struct Lap {
    pub(crate) table: String,
    pub(crate) group: String,
    pub(crate) events: u64,
    pub(crate) expected: Contents,
    /// What the table demands of its rows, if it demands something.
    check: Option<&'static str>,
}

impl Lap {
    /// The run of this number, which no other run of this process has.
    pub(crate) fn new(number: u32, expected: Contents) -> Self {
        // A group of an earlier process would go on where that ended.
        let group = format!("run-{}-{number}", std::process::id());
        Self { table: format!("run_{number}"), group, events: expected.rows, expected, check: None }
    }

    /// The same into a table with this constraint.
    pub(crate) fn with_check(&self, check: &'static str) -> Self {
        Self { check: Some(check), ..self.clone() }
    }

    /// The consumer group as Kafka knows it: Sluice puts its namespace before it.
    fn groups(&self, world: &World, contender: &Contender) -> String {
        match contender.kind {
            crate::contender::Kind::Sluice { .. } => world.names.group(&self.group),
            _ => self.group.clone(),
        }
    }

    /// Where the program's output goes.
    pub(crate) fn log(&self, world: &World) -> PathBuf {
        self.log_of(world, 1)
    }

    /// Where that of its process of this number goes, counted from 1.
    pub(crate) fn log_of(&self, world: &World, process: usize) -> PathBuf {
        world.folder.join(format!("{}-{process}.log", self.table))
    }

    /// How long it may take.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(30 + self.events / SLOWEST)
    }
}

/// What a run took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    /// From the start of the program to the last row, standstill at the end left out.
    pub(crate) seconds: f64,
    /// Of that, until the group had handed its partitions out.
    pub(crate) join: Option<f64>,
    /// Processor seconds of the program's own process.
    pub(crate) worker_cpu: Option<f64>,
    /// Most memory that it had resident, in bytes.
    pub(crate) worker_peak: Option<u64>,
    /// Processor seconds of ClickHouse.
    pub(crate) clickhouse_cpu: f64,
    /// Processor seconds of Kafka.
    pub(crate) kafka_cpu: f64,
    /// Rows that are there at the end.
    pub(crate) rows: u64,
    /// What is wrong with them.
    pub(crate) wrong: Option<String>,
}

impl Measured {
    /// Events per second from the start of the program.
    pub(crate) fn gross(&self, events: u64) -> f64 {
        events as f64 / self.seconds
    }

    /// Events per second once the group had handed its partitions out.
    pub(crate) fn net(&self, events: u64) -> f64 {
        events as f64 / (self.seconds - self.join.unwrap_or(0.0))
    }
}

/// Runs a program on a table of its own.
pub(crate) async fn race(world: &World, contender: &Contender, lap: &Lap) -> anyhow::Result<Measured> {
    world.create(&lap.table).await?;
    if let Some(check) = lap.check {
        world.execute(&format!("ALTER TABLE {} ADD CONSTRAINT demanded CHECK {check}", lap.table)).await?;
    }
    let measured = timed(world, contender, lap).await?;
    let (rows, wrong) = verify(world, lap).await?;
    Ok(Measured { rows, wrong, ..measured })
}

/// The same on a table that is there already and stays; what is in it is not looked at.
pub(crate) async fn timed(world: &World, contender: &Contender, lap: &Lap) -> anyhow::Result<Measured> {
    world.calm().await?;
    let group = Group::watch(&world.stores, &lap.groups(world, contender))?;
    let (before, start) = (world.cpu(), Instant::now());
    let mut running = contender.start(world, lap).await?;
    let lasted = follow(world, lap, &mut running, &group, start).await;
    let [clickhouse, kafka] = world.cpu();
    let usage = running.usage();
    running.end(world).await?;
    Ok(Measured {
        seconds: lasted?.as_secs_f64(),
        join: group.assigned().map(|at| (at - start).as_secs_f64()),
        worker_cpu: usage.map(|(cpu, _)| cpu.as_secs_f64()),
        worker_peak: usage.map(|(_, peak)| peak),
        clickhouse_cpu: clickhouse.saturating_sub(before[0]).as_secs_f64(),
        kafka_cpu: kafka.saturating_sub(before[1]).as_secs_f64(),
        rows: 0,
        wrong: None,
    })
}

/// When a program was last seen at work: rows came, or it used the processor.
pub(crate) struct Pulse {
    worked: Instant,
    beat: Instant,
    cpu: Option<Duration>,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Self { worked: now, beat: now, cpu: None }
    }

    /// How long it has had nothing to do. Of what has no process of its own that is never known.
    pub(crate) fn rests(&mut self, now: Instant, has_news: bool, cpu: Option<Duration>) -> Duration {
        if has_news {
            self.worked = now;
        }
        if now - self.beat >= BEAT {
            let used = cpu.zip(self.cpu).map(|(cpu, before)| cpu.saturating_sub(before));
            if used.is_none_or(|used| used > (now - self.beat) / IDLE_SHARE) {
                self.worked = now;
            }
            (self.beat, self.cpu) = (now, cpu);
        }
        now - self.worked
    }
}

/// Looks at the table until it is full; says how long that took.
async fn follow(
    world: &World,
    lap: &Lap,
    running: &mut Running,
    group: &Group,
    start: Instant,
) -> anyhow::Result<Duration> {
    let mut pulse = Pulse::new(start);
    let mut seen = 0;
    let mut asked: Option<Instant> = None;
    let mut rested = Duration::ZERO;
    loop {
        if asked.is_none() {
            running.check()?;
        }
        let rows = world.count(&lap.table).await?;
        let now = Instant::now();
        let has_news = rows > seen;
        if has_news {
            group.enough();
            seen = rows;
        }
        let rests = pulse.rests(now, has_news, running.cpu());
        let is_late = asked.is_some_and(|asked| now - asked > REST);
        if rows >= lap.events || is_late {
            return Ok((now - start).saturating_sub(rested));
        }
        if now - start > lap.patience() {
            bail!("wait for the rows: {rows} of {} are there after {:?}", lap.events, lap.patience());
        }
        // A broker that has just started may take as long to hand the partitions out.
        let has_had_time = group.assigned().is_some_and(|at| now.saturating_duration_since(at) > STANDSTILL);
        if asked.is_none() && rests > STANDSTILL && has_had_time {
            running.finish();
            (asked, rested) = (Some(now), rests);
        }
        tokio::time::sleep(until_next_look(rows, lap.events, now - start)).await;
    }
}

/// Looking costs ClickHouse, so it is done seldom until the end is near.
fn until_next_look(rows: u64, events: u64, passed: Duration) -> Duration {
    const OFTEN: Duration = Duration::from_millis(15);
    const SELDOM: Duration = Duration::from_millis(250);
    if rows == 0 {
        return Duration::from_millis(100);
    }
    let left = passed.as_secs_f64() * (events.saturating_sub(rows)) as f64 / rows as f64;
    Duration::from_secs_f64(left / 8.0).clamp(OFTEN, SELDOM)
}

/// Compares what is in the table with what should be there, and drops the table.
pub(crate) async fn verify(world: &World, lap: &Lap) -> anyhow::Result<(u64, Option<String>)> {
    let found = world.contents(&lap.table).await?;
    world.drop_table(&lap.table).await?;
    let Contents { rows, distinct, .. } = found;
    let wrong = match found {
        _ if found == lap.expected => None,
        _ if distinct != lap.events => Some(format!("{distinct} of {} events are there", lap.events)),
        _ if rows != lap.events => Some(format!("{} rows twice", rows - lap.events)),
        _ => Some("other contents".to_owned()),
    };
    Ok((rows, wrong))
}
