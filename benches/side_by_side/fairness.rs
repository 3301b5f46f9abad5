//! How one tenant affects the others' latency from producing a record to its row: while all send alike, while one sends a
//! hundred times as much, while it sends only poison, and while it sends more than the machine can process. Latencies are by
//! the server's clock, which stamps a row when ClickHouse receives it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::figures::{thousands, write};
use crate::live::{self, SteadyProducer};
use crate::machine::Machine;
use crate::options::Fairness;
use crate::output::{print, progress};
use crate::records::TenantMix;
use crate::testbed::Testbed;

/// How long the last record may take to land.
const LANDING_TIMEOUT: Duration = Duration::from_mins(5);

/// One part of the run.
struct Part {
    name: &'static str,
    /// Records of the loud tenant for each record of a quiet one.
    times: u32,
    is_poison: bool,
    /// Events per second of all tenants together.
    rate: u32,
}

/// Results of a part.
struct PartResult {
    sent: usize,
    landed: u64,
    /// Seconds from the first record sent to the last row seen.
    seconds: f64,
    /// Latency of the quiet tenants' records at p50, p95 and p99, in milliseconds.
    quiet: Vec<f64>,
}

/// Runs the parts in sequence and writes `fairness.txt` and `fairness.json`.
pub(crate) async fn run(options: &Fairness) -> anyhow::Result<()> {
    let testbed = Testbed::up(&options.common, "live").await?;
    let mut lines = Vec::new();
    let mut parts = Vec::new();
    let mut baseline = None;
    for part in parts_of(options)? {
        progress(&format!("{}: {} events/s for {:?}", part.name, part.rate, options.span));
        let found = run_part(&testbed, options, &part).await?;
        let p95 = found.quiet[1];
        lines.push(format!(
            "{}: {} events/s sent, {} rows/s landed; the quiet tenants' p50 {:.0} ms, p95 {p95:.0} ms, p99 {:.0} ms, {:.2} times",
            part.name,
            thousands(found.sent as f64 / options.span.as_secs_f64()),
            thousands(found.landed as f64 / found.seconds),
            found.quiet[0],
            found.quiet[2],
            p95 / *baseline.get_or_insert(p95),
        ));
        parts.push(json!({ "part": part.name, "sent": found.sent, "landed": found.landed, "seconds": found.seconds,
                           "quiet_milliseconds": found.quiet }));
    }
    let machine = Machine::current(&testbed).await?;
    let head = format!("ten tenants, {:?} each part, batch timer {:?}", options.span, options.timer);
    let text = format!("{}\n{head}\n{}", machine.text(), lines.join("\n"));
    write(&options.common.out, "fairness.txt", &text)?;
    let json = json!({ "machine": machine, "parts": parts });
    write(&options.common.out, "fairness.json", &serde_json::to_string_pretty(&json)?)?;
    print(&text);
    Ok(())
}

fn parts_of(options: &Fairness) -> anyhow::Result<Vec<Part>> {
    let rate = |times: u32| -> anyhow::Result<u32> {
        let (all, _) = TenantMix::new(options.common.bytes, times, false)?.cycle();
        // Each quiet tenant has one record in a cycle.
        u32::try_from(options.rate as usize * all).context("count the events of a second")
    };
    let times = options.times;
    Ok(vec![
        Part { name: "all alike", times: 1, is_poison: false, rate: rate(1)? },
        Part { name: "one louder", times, is_poison: false, rate: rate(times)? },
        Part { name: "one all poison", times, is_poison: true, rate: rate(times)? },
        Part { name: "above capacity", times, is_poison: false, rate: options.flood },
    ])
}

async fn run_part(testbed: &Testbed, options: &Fairness, part: &Part) -> anyhow::Result<PartResult> {
    let (trial, program) = live::start_worker(testbed, options.timer).await?;
    let mix = TenantMix::new(options.common.bytes, part.times, part.is_poison)?;
    let (loud, (all, quiet)) = (mix.loud(), mix.cycle());
    let start = Instant::now();
    let sent = SteadyProducer::start(testbed, part.rate, options.span, mix.into_source())?.done().await?.len();
    let rows = if part.is_poison { sent / all * quiet + sent % all * quiet / all } else { sent };
    live::wait_for_rows(testbed, &trial, rows as u64, LANDING_TIMEOUT).await?;
    let seconds = start.elapsed().as_secs_f64();
    let landed = testbed.count(&trial.table).await?;
    if landed != rows as u64 {
        bail!("wait for records: {landed} are in the table instead of {rows}");
    }
    let quiet = live::server_latencies(testbed, &trial, &format!("tenant_id != '{loud}'")).await?;
    program.stop().await?;
    testbed.drop_table(&trial.table).await?;
    Ok(PartResult { sent, landed, seconds, quiet })
}
