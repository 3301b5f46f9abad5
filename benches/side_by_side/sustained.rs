//! Whether a worker keeps up: records at a steady rate, and each second how many of them cannot be seen yet.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::child::Program;
use crate::live::{self, Producing};
use crate::machine::Machine;
use crate::options::Sustained;
use crate::plot::{self, Chart, Line};
use crate::race::Lap;
use crate::records::Live;
use crate::result::{Spread, thousands, write};
use crate::say::{say, show};
use crate::watch;
use crate::world::World;

/// How long the last record may take after the last was sent.
const PATIENCE: Duration = Duration::from_mins(2);

/// What was found at one second.
struct Sample {
    at: f64,
    lag: u64,
    resident: u64,
}

/// Runs it and writes `sustained.txt`, `sustained.json` and `sustained.svg`.
pub(crate) async fn run(options: &Sustained) -> anyhow::Result<()> {
    let Sustained { common, rate, span, timer } = options;
    let (world, lap, mut program) = live::worker(common, *timer).await?;
    say(&format!("producing {rate} events/s for {span:?}, batch timer {timer:?}"));
    let before = world.cpu();
    let producing = Producing::start(&world, *rate, *span, Live::new(common.bytes)?.every())?;
    let samples = sample(&world, &lap, &producing, &mut program).await?;
    let sent = producing.done().await?.len();
    live::all_there(&world, &lap, sent as u64, PATIENCE).await?;
    let found = world.contents(&lap.table).await?;
    let (cpu, peak) = (watch::cpu(program.pid()).as_secs_f64(), program.peak());
    let stores: Vec<f64> =
        world.cpu().iter().zip(before).map(|(now, then)| now.saturating_sub(then).as_secs_f64()).collect();
    program.end().await?;
    world.drop_table(&lap.table).await?;
    let is_right = found.rows == sent as u64 && found.distinct == sent as u64;
    let machine = Machine::this(&world).await?;
    let points = samples.iter().map(|sample| (sample.at, sample.lag as f64)).collect();
    let chart = Chart {
        title: &format!("Lag at {} events/s", thousands(f64::from(*rate))),
        unit: "records",
        lines: &[Line { label: "produced and not yet seen in ClickHouse".to_owned(), points }],
        limit: None,
    };
    let text = format!(
        "{}\n{} events/s for {span:?}, batch timer {timer:?}: {} events, {}\nlag, median (least-most): {}\n\
         processor seconds per million events: worker {:.2}, ClickHouse {:.2}, Kafka {:.2}; worker's peak {} MiB",
        machine.text(),
        thousands(f64::from(*rate)),
        thousands(sent as f64),
        if is_right { "each there once".to_owned() } else { format!("WRONG: {found:?}") },
        by_tenths(&samples),
        cpu / sent as f64 * 1e6,
        stores[0] / sent as f64 * 1e6,
        stores[1] / sent as f64 * 1e6,
        peak >> 20,
    );
    let seconds: Vec<_> = samples.iter().map(|s| json!([s.at, s.lag, s.resident])).collect();
    let json = json!({ "machine": machine, "rate": rate, "events": sent, "right": is_right,
                       "worker_cpu": cpu, "worker_peak": peak, "seconds_lag_resident": seconds });
    write(&common.out, "sustained.txt", &text)?;
    write(&common.out, "sustained.json", &serde_json::to_string(&json)?)?;
    write(&common.out, "sustained.svg", &plot::lines(&chart))?;
    show(&text);
    Ok(())
}

/// Each second, while records are sent.
async fn sample(world: &World, lap: &Lap, producing: &Producing, program: &mut Program) -> anyhow::Result<Vec<Sample>> {
    let start = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut samples = Vec::new();
    while !producing.is_done() {
        tick.tick().await;
        program.check()?;
        let seen = world.count(&lap.table).await?;
        samples.push(Sample {
            at: start.elapsed().as_secs_f64(),
            lag: producing.sent().saturating_sub(seen),
            resident: watch::resident(program.pid()).unwrap_or(0),
        });
    }
    Ok(samples)
}

/// A lag that grows would show from one tenth of the time to the next.
fn by_tenths(samples: &[Sample]) -> String {
    let tenths = samples.chunks(samples.len().div_ceil(10).max(1));
    let text = tenths.filter_map(|tenth| {
        let Spread { least, median, most } = Spread::of(tenth.iter().map(|sample| sample.lag as f64))?;
        Some(format!("{} ({}-{})", thousands(median), thousands(least), thousands(most)))
    });
    text.collect::<Vec<_>>().join(", ")
}
