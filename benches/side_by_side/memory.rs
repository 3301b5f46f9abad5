//! Measures the resident memory of `sluice ingest` while it works off a backlog, with a ClickHouse outage in the middle. It
//! reports the peak and sets no bound for it.

use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::json;
use sluice_testkit::TcpProxy;

use crate::child::Program;
use crate::contender::sluice::{self, Settings};
use crate::figures::{thousands, write};
use crate::fill::fill;
use crate::limit::Limit;
use crate::machine::Machine;
use crate::measure::Activity;
use crate::options::Memory;
use crate::output::{print, progress};
use crate::plot::{self, Chart, Line};
use crate::proc;
use crate::testbed::{SLUICE, Testbed};
use crate::trial::Trial;

/// Sampling interval of the process.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// Samples of the process per poll of the table.
const SAMPLES_PER_POLL: u32 = 5;
/// If no row lands for longer than this, the last batches are waiting for their timer.
const IDLE_LIMIT: Duration = Duration::from_secs(3);

/// One run.
struct MemoryRun {
    batch: u64,
    /// Samples: seconds and resident bytes.
    points: Vec<(f64, f64)>,
    peak: u64,
    /// Start of the outage, in seconds.
    outage_at: f64,
    wrong: Option<String>,
}

/// Runs each batch size and writes `memory.txt`, `memory.json` and `memory.svg`.
pub(crate) async fn run(options: &Memory) -> anyhow::Result<()> {
    let common = &options.common;
    let testbed = Testbed::up(common, "bench").await?;
    let expected = fill(&testbed, common).await?;
    let limit = Limit::available().await;
    let limit_text = limit.text(options.limit);
    let mut runs = Vec::new();
    for (number, batch) in (1..).zip(&options.batch) {
        progress(&format!("a backlog of {} events, batches of {batch}; {limit_text}", common.events));
        runs.push(run_batch_size(&testbed, options, limit, &Trial::new(number, expected), *batch).await?);
    }
    let machine = Machine::current(&testbed).await?;
    let line = |run: &MemoryRun| {
        let MemoryRun { batch, peak, outage_at, wrong, .. } = run;
        let rows = wrong.as_ref().map_or_else(|| "every row once".to_owned(), |wrong| format!("WRONG: {wrong}"));
        let (batch, peak) = (thousands(*batch as f64), *peak as f64 / f64::from(1 << 20));
        format!("batches of {batch}: peak {peak:.1} MiB, ClickHouse unavailable from {outage_at:.0} s on, {rows}")
    };
    let text = format!(
        "{}\na backlog of {} events, ClickHouse unavailable for {:?}, memory {limit_text}\n{}",
        machine.text(),
        thousands(expected.rows as f64),
        options.outage,
        runs.iter().map(line).collect::<Vec<_>>().join("\n"),
    );
    let json: Vec<_> =
        runs.iter().map(|run| json!({ "batch": run.batch, "peak": run.peak, "outage_at": run.outage_at })).collect();
    let json = json!({ "machine": machine, "events": expected.rows, "limit": limit_text, "runs": json });
    write(&common.out, "memory.txt", &text)?;
    write(&common.out, "memory.json", &serde_json::to_string_pretty(&json)?)?;
    write(&common.out, "memory.svg", &chart(options, &runs))?;
    print(&text);
    Ok(())
}

fn chart(options: &Memory, runs: &[MemoryRun]) -> String {
    let mebibytes =
        |points: &[(f64, f64)]| points.iter().map(|(at, bytes)| (*at, bytes / f64::from(1 << 20))).collect();
    let line = |run: &MemoryRun| Line {
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

async fn run_batch_size(
    testbed: &Testbed,
    options: &Memory,
    limit: Limit,
    trial: &Trial,
    batch: u64,
) -> anyhow::Result<MemoryRun> {
    testbed.create(&trial.table).await?;
    testbed.wait_until_idle().await?;
    let mut proxy = TcpProxy::start(&testbed.stores.clickhouse.url).await;
    let settings = Settings { batch, timer: Duration::from_secs(30), clickhouse: Some(proxy.url.clone()) };
    let words = limit.command_prefix(options.limit);
    let words: Vec<&str> = words.iter().map(String::as_str).chain([SLUICE]).collect();
    let program = Program::start(sluice::command(testbed, trial, &settings, &words)?, &trial.log(testbed))?;
    let mut run = MemoryRun { batch, points: Vec::new(), peak: 0, outage_at: 0.0, wrong: None };
    let sampled = sample_until_landed(testbed, options, trial, &mut proxy, program, &mut run).await;
    run.wrong = trial.verify(testbed).await?.1;
    sampled.map(|()| run)
}

/// Samples process and table until all rows have landed. In the middle, ClickHouse is unavailable for [`Memory::outage`].
async fn sample_until_landed(
    testbed: &Testbed,
    options: &Memory,
    trial: &Trial,
    proxy: &mut TcpProxy,
    mut program: Program,
    run: &mut MemoryRun,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let (mut rows, mut activity) = (0, Activity::new(start));
    let mut outage_start: Option<Instant> = None;
    let (mut is_over, mut is_finishing) = (options.outage.is_zero(), false);
    for sample in 0.. {
        let elapsed = start.elapsed();
        run.points.extend(proc::resident(program.pid()).map(|bytes| (elapsed.as_secs_f64(), bytes as f64)));
        if !is_finishing {
            program.check()?;
        }
        let before = rows;
        if sample % SAMPLES_PER_POLL == 0 {
            rows = testbed.count(&trial.table).await?;
        }
        if rows >= trial.events {
            break;
        }
        if !is_over && outage_start.is_none() && rows >= trial.events * 2 / 5 {
            proxy.close();
            (outage_start, run.outage_at) = (Some(Instant::now()), elapsed.as_secs_f64());
        }
        if !is_over && outage_start.is_some_and(|since| since.elapsed() >= options.outage) {
            proxy.reopen().await;
            (is_over, activity) = (true, Activity::new(Instant::now()));
        }
        let idle = activity.idle_for(Instant::now(), rows > before, proc::own_cpu(program.pid()));
        // After an outage, the next attempt is due within ten seconds.
        let idle_limit = if options.outage.is_zero() { IDLE_LIMIT } else { IDLE_LIMIT + Duration::from_secs(10) };
        if is_over && !is_finishing && rows > 0 && idle > idle_limit {
            program.finish();
            is_finishing = true;
        }
        if elapsed > trial.deadline() + options.outage {
            bail!("wait for the rows: {rows} of {} are in the table after {elapsed:?}", trial.events);
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
    run.peak = program.peak();
    program.stop().await
}
