//! The memory of `sluice ingest` with a backlog, and while ClickHouse is away in the middle of it.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;
use sluice_testkit::Gate;

use crate::child::Program;
use crate::contender::sluice::{self, Settings};
use crate::fill::fill;
use crate::limit::Limit;
use crate::machine::Machine;
use crate::options::Memory;
use crate::plot::{self, Chart, Line};
use crate::race::{Lap, Pulse, verify};
use crate::result::{thousands, write};
use crate::say::{say, show};
use crate::watch;
use crate::world::{SLUICE, World};

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Looks at the process for each look at the table.
const LOOKS: u32 = 5;
/// Longer than this without a row means that the last batches wait for their timer.
const STANDSTILL: Duration = Duration::from_secs(3);

/// One run.
struct Run {
    batch: u64,
    /// Seconds and bytes.
    points: Vec<(f64, f64)>,
    peak: u64,
    /// When ClickHouse went away, in seconds.
    away_at: f64,
    wrong: Option<String>,
}

/// Runs each batch size and writes `memory.txt`, `memory.json` and `memory.svg`.
pub(crate) async fn run(options: &Memory) -> anyhow::Result<()> {
    let common = &options.common;
    let world = World::up(common, "bench").await?;
    let expected = fill(&world, common).await?;
    let limit = Limit::here().await;
    let held = limit.text(options.limit);
    let mut runs = Vec::new();
    for (number, batch) in (1..).zip(&options.batch) {
        say(&format!("a backlog of {} events, batches of {batch}; {held}", common.events));
        runs.push(one(&world, options, limit, &Lap::new(number, expected), *batch).await?);
    }
    let machine = Machine::this(&world).await?;
    let line = |run: &Run| {
        let Run { batch, peak, away_at, wrong, .. } = run;
        let rows = wrong.as_ref().map_or_else(|| "every row there once".to_owned(), |wrong| format!("WRONG: {wrong}"));
        let (batch, peak) = (thousands(*batch as f64), *peak as f64 / f64::from(1 << 20));
        format!("batches of {batch}: peak {peak:.1} MiB, ClickHouse away from {away_at:.0} s on, {rows}")
    };
    let text = format!(
        "{}\na backlog of {} events, ClickHouse away for {:?}, memory {held}\n{}",
        machine.text(),
        thousands(expected.rows as f64),
        options.away,
        runs.iter().map(line).collect::<Vec<_>>().join("\n"),
    );
    let json: Vec<_> =
        runs.iter().map(|run| json!({ "batch": run.batch, "peak": run.peak, "away_at": run.away_at })).collect();
    let json = json!({ "machine": machine, "events": expected.rows, "held": held, "runs": json });
    write(&common.out, "memory.txt", &text)?;
    write(&common.out, "memory.json", &serde_json::to_string_pretty(&json)?)?;
    write(&common.out, "memory.svg", &picture(options, &runs))?;
    show(&text);
    Ok(())
}

fn picture(options: &Memory, runs: &[Run]) -> String {
    let mebibytes =
        |points: &[(f64, f64)]| points.iter().map(|(at, bytes)| (*at, bytes / f64::from(1 << 20))).collect();
    let line = |run: &Run| Line {
        label: format!("batches of {}", thousands(run.batch as f64)),
        points: mebibytes(&run.points),
    };
    plot::lines(&Chart {
        title: "Resident memory of sluice ingest with a backlog",
        unit: "MiB",
        lines: &runs.iter().map(line).collect::<Vec<_>>(),
        limit: Some(options.limit.0 as f64 / f64::from(1 << 20)),
    })
}

async fn one(world: &World, options: &Memory, limit: Limit, lap: &Lap, batch: u64) -> anyhow::Result<Run> {
    world.create(&lap.table).await?;
    world.calm().await?;
    let mut gate = Gate::open(&world.stores.clickhouse.url).await;
    let settings = Settings { batch, timer: Duration::from_secs(30), clickhouse: Some(gate.url.clone()) };
    let words = limit.words(options.limit);
    let words: Vec<&str> = words.iter().map(String::as_str).chain([SLUICE]).collect();
    let program = Program::start(sluice::command(world, lap, &settings, &words)?, &lap.log(world))?;
    let mut run = Run { batch, points: Vec::new(), peak: 0, away_at: 0.0, wrong: None };
    let followed = follow(world, options, lap, &mut gate, program, &mut run).await;
    run.wrong = verify(world, lap).await?.1;
    followed.map(|()| run)
}

/// Looks at process and table until all rows are there; in the middle, ClickHouse goes away for a while.
async fn follow(
    world: &World,
    options: &Memory,
    lap: &Lap,
    gate: &mut Gate,
    mut program: Program,
    run: &mut Run,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let (mut rows, mut pulse) = (0, Pulse::new(start));
    let mut away: Option<Instant> = None;
    let (mut is_back, mut is_asked) = (options.away.is_zero(), false);
    for look in 0.. {
        let passed = start.elapsed();
        run.points.extend(watch::resident(program.pid()).map(|bytes| (passed.as_secs_f64(), bytes as f64)));
        if !is_asked {
            program.check()?;
        }
        let before = rows;
        if look % LOOKS == 0 {
            rows = world.count(&lap.table).await?;
        }
        if rows >= lap.events {
            break;
        }
        if !is_back && away.is_none() && rows >= lap.events * 2 / 5 {
            gate.shut();
            (away, run.away_at) = (Some(Instant::now()), passed.as_secs_f64());
        }
        if !is_back && away.is_some_and(|since| since.elapsed() >= options.away) {
            gate.reopen().await;
            (is_back, pulse) = (true, Pulse::new(Instant::now()));
        }
        let rests = pulse.rests(Instant::now(), rows > before, watch::own_cpu(program.pid()));
        // After an outage the next attempt is due within ten seconds.
        let patience = if options.away.is_zero() { STANDSTILL } else { STANDSTILL + Duration::from_secs(10) };
        if is_back && !is_asked && rows > 0 && rests > patience {
            program.finish();
            is_asked = true;
        }
        if passed > lap.patience() + options.away {
            bail!("wait for the rows: {rows} of {} are there after {passed:?}", lap.events);
        }
        tokio::time::sleep(LOOK).await;
    }
    run.peak = program.peak();
    program.end().await
}
