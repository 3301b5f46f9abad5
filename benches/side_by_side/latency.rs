//! How long a record takes from its producer until it can be seen in ClickHouse, at a low rate: each record's own time,
//! found by looking every few milliseconds.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::live::{self, Producing};
use crate::machine::Machine;
use crate::options::Latency;
use crate::race::Lap;
use crate::records::Live;
use crate::result::write;
use crate::say::{say, show};
use crate::world::World;

/// How often the table is looked at: the figures are too high by half of it.
const LOOK: Duration = Duration::from_millis(10);
/// How long the last record may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs it and writes `latency.txt` and `latency.json`.
pub(crate) async fn run(options: &Latency) -> anyhow::Result<()> {
    let Latency { common, rate, span, timer } = options;
    let (world, lap, program) = live::worker(common, *timer).await?;
    say(&format!("producing {rate} events/s for {span:?}, batch timer {timer:?}"));
    let producing = Producing::start(&world, *rate, *span, Live::new(common.bytes)?.every())?;
    let seen = look(&world, &lap, &producing).await?;
    let sent = producing.done().await?;
    let mut taken: Vec<f64> = seen.iter().zip(&sent).map(|(seen, sent)| (*seen - *sent).as_secs_f64() * 1e3).collect();
    taken.sort_by(f64::total_cmp);
    let servers = live::servers_times(&world, &lap, "1").await?;
    program.end().await?;
    world.drop_table(&lap.table).await?;
    let machine = Machine::this(&world).await?;
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share).round() as usize];
    let (p50, p95, p99, most) = (at(0.50), at(0.95), at(0.99), at(1.0));
    let text = format!(
        "{}\n{rate} events/s for {span:?}, batch timer {timer:?}: {} events, from produced to seen\n\
         p50 {p50:.0} ms, p95 {p95:.0} ms, p99 {p99:.0} ms, most {most:.0} ms\n\
         by the server's own clock (_ingested_at): p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms",
        machine.text(),
        taken.len(),
        servers[0],
        servers[1],
        servers[2],
    );
    let millis = json!({ "p50": p50, "p95": p95, "p99": p99, "most": most, "by_the_server": servers });
    let json = json!({ "machine": machine, "rate": rate, "events": taken.len(), "milliseconds": millis });
    write(&common.out, "latency.txt", &text)?;
    write(&common.out, "latency.json", &serde_json::to_string_pretty(&json)?)?;
    show(&text);
    Ok(())
}

/// When each record was first seen, by its number.
async fn look(world: &World, lap: &Lap, producing: &Producing) -> anyhow::Result<Vec<Instant>> {
    let mut seen: Vec<Option<Instant>> = Vec::new();
    let mut first_unseen = 0;
    let mut news = Instant::now();
    loop {
        let query = format!("SELECT duration_ms FROM {} WHERE duration_ms >= {first_unseen}", lap.table);
        let numbers: Vec<u32> = world.clickhouse.query(&query).fetch_all().await.context("look for records")?;
        let now = Instant::now();
        for number in numbers.iter().map(|number| *number as usize) {
            if seen.len() <= number {
                seen.resize(number + 1, None);
            }
            if seen[number].is_none() {
                seen[number] = Some(now);
                news = now;
            }
        }
        first_unseen += seen[first_unseen..].iter().take_while(|at| at.is_some()).count();
        if producing.is_done() && first_unseen as u64 == producing.sent() {
            return Ok(seen.into_iter().flatten().collect());
        }
        if now - news > PATIENCE {
            bail!("wait for records: number {first_unseen} has not come for {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}
