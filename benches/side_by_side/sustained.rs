//! Measures whether a worker keeps up with a steady rate: every second, it counts the records that are not visible yet.
//! The rate is given: it never searches for the highest one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::child::Program;
use crate::figures::{Spread, thousands, write};
use crate::live::{self, SteadyProducer};
use crate::machine::Machine;
use crate::options::Sustained;
use crate::output::{print, progress};
use crate::plot::{self, Chart, Line};
use crate::proc;
use crate::records::Live;
use crate::testbed::Testbed;
use crate::trial::Trial;

/// How long the rows may take to land after the last record was sent.
const LANDING_TIMEOUT: Duration = Duration::from_mins(2);

/// State at one second.
struct Sample {
    at: f64,
    lag: u64,
    resident: u64,
}

/// Measures the lag and writes `sustained.txt`, `sustained.json` and `sustained.svg`.
pub(crate) async fn run(options: &Sustained) -> anyhow::Result<()> {
    let Sustained { common, rate, span, timer } = options;
    let (testbed, trial, mut program) = live::testbed_with_worker(common, *timer).await?;
    progress(&format!("producing {rate} events/s for {span:?}, batch timer {timer:?}"));
    let before = testbed.cpu();
    let producer = SteadyProducer::start(&testbed, *rate, *span, Live::new(common.bytes)?.into_source())?;
    let samples = sample(&testbed, &trial, &producer, &mut program).await?;
    let sent = producer.wait_until_done().await?.len();
    live::wait_for_rows(&testbed, &trial, sent as u64, LANDING_TIMEOUT).await?;
    let contents = testbed.contents(&trial.table).await?;
    let (cpu, peak) = (proc::cpu(program.pid()).as_secs_f64(), program.peak());
    let stores: Vec<f64> =
        testbed.cpu().iter().zip(before).map(|(now, then)| now.saturating_sub(then).as_secs_f64()).collect();
    program.stop().await?;
    testbed.drop_table(&trial.table).await?;
    let is_right = contents.rows == sent as u64 && contents.distinct == sent as u64;
    let machine = Machine::current(&testbed).await?;
    let points = samples.iter().map(|sample| (sample.at, sample.lag as f64)).collect();
    let chart = Chart {
        title: &format!("Lag at {} events/s", thousands(f64::from(*rate))),
        unit: "records",
        lines: &[Line { label: "produced and not yet visible in ClickHouse".to_owned(), points }],
        limit: None,
    };
    let text = format!(
        "{}\n{} events/s for {span:?}, batch timer {timer:?}: {} events, {}\nlag, median (min-max): {}\n\
         processor seconds per million events: worker {:.2}, ClickHouse {:.2}, Kafka {:.2}; worker's peak {} MiB",
        machine.text(),
        thousands(f64::from(*rate)),
        thousands(sent as f64),
        if is_right { "every row once".to_owned() } else { format!("WRONG: {contents:?}") },
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
    print(&text);
    Ok(())
}

/// Samples every second while records are sent.
async fn sample(
    testbed: &Testbed,
    trial: &Trial,
    producer: &SteadyProducer,
    program: &mut Program,
) -> anyhow::Result<Vec<Sample>> {
    let start = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut samples = Vec::new();
    while !producer.is_done() {
        tick.tick().await;
        program.check()?;
        let seen = testbed.count(&trial.table).await?;
        samples.push(Sample {
            at: start.elapsed().as_secs_f64(),
            lag: producer.sent().saturating_sub(seen),
            resident: proc::resident(program.pid()).unwrap_or(0),
        });
    }
    Ok(samples)
}

/// The lag in each tenth of the time. A growing lag increases from one tenth to the next.
fn by_tenths(samples: &[Sample]) -> String {
    let tenths = samples.chunks(samples.len().div_ceil(10).max(1));
    let text = tenths.filter_map(|tenth| {
        let Spread { min, median, max } = Spread::of(tenth.iter().map(|sample| sample.lag as f64))?;
        Some(format!("{} ({}-{})", thousands(median), thousands(min), thousands(max)))
    });
    text.collect::<Vec<_>>().join(", ")
}
