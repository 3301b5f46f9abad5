//! What one tenant does to the others: their time from producing a record to its row, while all are alike, while one of them
//! sends a hundred times as much, while that one sends only poison, and while it sends more than the machine can take.
//! Times are the server's: a row is stamped when ClickHouse takes it in.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::live::{self, Producing};
use crate::machine::Machine;
use crate::options::Fairness;
use crate::records::Crowd;
use crate::result::{thousands, write};
use crate::say::{say, show};
use crate::world::World;

/// How long the last record may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// One part of the run.
struct Part {
    name: &'static str,
    /// Records of the loud tenant for each of a quiet one.
    times: u32,
    is_poison: bool,
    /// Events per second of all together.
    rate: u32,
}

/// What a part has shown.
struct Found {
    sent: usize,
    landed: u64,
    /// From the first record sent to the last row seen.
    seconds: f64,
    /// Milliseconds of the quiet tenants' records at p50, p95 and p99.
    quiet: Vec<f64>,
}

/// Runs the parts one after the other and writes `fairness.txt` and `fairness.json`.
pub(crate) async fn run(options: &Fairness) -> anyhow::Result<()> {
    let world = World::up(&options.common, "live").await?;
    let mut lines = Vec::new();
    let mut parts = Vec::new();
    let mut alike = None;
    for part in parts_of(options)? {
        say(&format!("{}: {} events/s for {:?}", part.name, part.rate, options.span));
        let found = one(&world, options, &part).await?;
        let p95 = found.quiet[1];
        lines.push(format!(
            "{}: {} events/s sent, {} rows/s landed; the quiet tenants' p50 {:.0} ms, p95 {p95:.0} ms, p99 {:.0} ms, {:.2} times",
            part.name,
            thousands(found.sent as f64 / options.span.as_secs_f64()),
            thousands(found.landed as f64 / found.seconds),
            found.quiet[0],
            found.quiet[2],
            p95 / *alike.get_or_insert(p95),
        ));
        parts.push(json!({ "part": part.name, "sent": found.sent, "landed": found.landed, "seconds": found.seconds,
                           "quiet_milliseconds": found.quiet }));
    }
    let machine = Machine::this(&world).await?;
    let head = format!("ten tenants, {:?} each part, batch timer {:?}", options.span, options.timer);
    let text = format!("{}\n{head}\n{}", machine.text(), lines.join("\n"));
    write(&options.common.out, "fairness.txt", &text)?;
    let json = json!({ "machine": machine, "parts": parts });
    write(&options.common.out, "fairness.json", &serde_json::to_string_pretty(&json)?)?;
    show(&text);
    Ok(())
}

fn parts_of(options: &Fairness) -> anyhow::Result<Vec<Part>> {
    let rate = |times: u32| -> anyhow::Result<u32> {
        let (all, _) = Crowd::new(options.common.bytes, times, false)?.turn();
        // Each quiet tenant has one record in a turn.
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

async fn one(world: &World, options: &Fairness, part: &Part) -> anyhow::Result<Found> {
    let (lap, program) = live::worker_on(world, options.timer).await?;
    let crowd = Crowd::new(options.common.bytes, part.times, part.is_poison)?;
    let (loud, (all, quiet)) = (crowd.loud(), crowd.turn());
    let start = Instant::now();
    let sent = Producing::start(world, part.rate, options.span, crowd.every())?.done().await?.len();
    let rows = if part.is_poison { sent / all * quiet + sent % all * quiet / all } else { sent };
    live::all_there(world, &lap, rows as u64, PATIENCE).await?;
    let seconds = start.elapsed().as_secs_f64();
    let landed = world.count(&lap.table).await?;
    if landed != rows as u64 {
        bail!("wait for records: {landed} are there instead of {rows}");
    }
    let quiet = live::servers_times(world, &lap, &format!("tenant_id != '{loud}'")).await?;
    program.end().await?;
    world.drop_table(&lap.table).await?;
    Ok(Found { sent, landed, seconds, quiet })
}
