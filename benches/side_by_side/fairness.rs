//! Measures how one tenant affects the latency of the others, from producing a record to its row. Four phases: all tenants send
//! equally much; one sends a hundred times as much; it sends only poison; it sends more than the machine can process. Latencies
//! are measured with the server's clock: ClickHouse stamps a row when it receives it. It sets no limit for a latency.

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

/// One phase of the run.
struct Phase {
    name: &'static str,
    /// Records of the heavy tenant for each record of a quiet one.
    load_factor: u32,
    is_poison: bool,
    /// Events per second of all tenants together.
    rate: u32,
}

/// Results of a phase.
struct PhaseResult {
    sent: usize,
    landed: u64,
    /// Seconds from the start of the producer to the last row seen.
    seconds: f64,
    /// Latency of the quiet tenants' records at p50, p95 and p99, in milliseconds.
    quiet: Vec<f64>,
}

/// Runs the phases in sequence and writes `fairness.txt` and `fairness.json`.
pub(crate) async fn run(options: &Fairness) -> anyhow::Result<()> {
    let testbed = Testbed::up(&options.common, "live").await?;
    let mut lines = Vec::new();
    let mut results = Vec::new();
    let mut baseline = None;
    for phase in phases(options)? {
        progress(&format!("{}: {} events/s for {:?}", phase.name, phase.rate, options.span));
        let result = run_phase(&testbed, options, &phase).await?;
        let p95 = result.quiet[1];
        lines.push(format!(
            "{}: {} events/s sent, {} rows/s landed; the quiet tenants' p50 {:.0} ms, p95 {p95:.0} ms, p99 {:.0} ms, p95 {:.2} × the baseline",
            phase.name,
            thousands(result.sent as f64 / options.span.as_secs_f64()),
            thousands(result.landed as f64 / result.seconds),
            result.quiet[0],
            result.quiet[2],
            p95 / *baseline.get_or_insert(p95),
        ));
        results.push(
            json!({ "phase": phase.name, "sent": result.sent, "landed": result.landed, "seconds": result.seconds,
                           "quiet_milliseconds": result.quiet }),
        );
    }
    let machine = Machine::current(&testbed).await?;
    let head = format!("ten tenants, {:?} per phase, batch timer {:?}", options.span, options.timer);
    let text = format!("{}\n{head}\n{}", machine.text(), lines.join("\n"));
    write(&options.common.out, "fairness.txt", &text)?;
    let json = json!({ "machine": machine, "phases": results });
    write(&options.common.out, "fairness.json", &serde_json::to_string_pretty(&json)?)?;
    print(&text);
    Ok(())
}

fn phases(options: &Fairness) -> anyhow::Result<Vec<Phase>> {
    let rate = |load_factor: u32| -> anyhow::Result<u32> {
        let (records_per_cycle, _) = TenantMix::new(options.common.bytes, load_factor, false)?.cycle();
        // Each quiet tenant has one record in a cycle.
        u32::try_from(options.rate as usize * records_per_cycle).context("count the events of a second")
    };
    let load_factor = options.load_factor;
    Ok(vec![
        Phase { name: "equal load", load_factor: 1, is_poison: false, rate: rate(1)? },
        Phase { name: "one heavy tenant", load_factor, is_poison: false, rate: rate(load_factor)? },
        Phase { name: "one tenant invalid", load_factor, is_poison: true, rate: rate(load_factor)? },
        Phase { name: "above capacity", load_factor, is_poison: false, rate: options.flood },
    ])
}

async fn run_phase(testbed: &Testbed, options: &Fairness, phase: &Phase) -> anyhow::Result<PhaseResult> {
    let (trial, program) = live::start_worker(testbed, options.timer).await?;
    let mix = TenantMix::new(options.common.bytes, phase.load_factor, phase.is_poison)?;
    let (heavy_tenant, (records_per_cycle, quiet_per_cycle)) = (mix.heavy_tenant(), mix.cycle());
    let start = Instant::now();
    let sent =
        SteadyProducer::start(testbed, phase.rate, options.span, mix.into_source())?.wait_until_done().await?.len();
    let expected_rows = if phase.is_poison {
        sent / records_per_cycle * quiet_per_cycle + sent % records_per_cycle * quiet_per_cycle / records_per_cycle
    } else {
        sent
    };
    live::wait_for_rows(testbed, &trial, expected_rows as u64, LANDING_TIMEOUT).await?;
    let seconds = start.elapsed().as_secs_f64();
    let landed = testbed.count(&trial.table).await?;
    if landed != expected_rows as u64 {
        bail!("wait for records: {landed} are in the table instead of {expected_rows}");
    }
    let quiet = live::server_latencies(testbed, &trial, &format!("tenant_id != '{heavy_tenant}'")).await?;
    program.stop().await?;
    testbed.drop_table(&trial.table).await?;
    Ok(PhaseResult { sent, landed, seconds, quiet })
}
