//! Measures the latency of each record from its producer until it is visible in ClickHouse, at a low rate. The table is polled
//! every few milliseconds. It measures no throughput.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;

use crate::figures::write;
use crate::live::{self, SteadyProducer};
use crate::machine::Machine;
use crate::options::Latency;
use crate::output::{print, progress};
use crate::records::Live;
use crate::testbed::Testbed;
use crate::trial::Trial;

/// Polling interval of the table; the figures are too high by half of it on average.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait for the next record.
const LANDING_TIMEOUT: Duration = Duration::from_mins(1);

/// Measures the latency and writes `latency.txt` and `latency.json`.
pub(crate) async fn run(options: &Latency) -> anyhow::Result<()> {
    let Latency { common, rate, span, timer } = options;
    let (testbed, trial, program) = live::testbed_with_worker(common, *timer).await?;
    progress(&format!("producing {rate} events/s for {span:?}, batch timer {timer:?}"));
    let producer = SteadyProducer::start(&testbed, *rate, *span, Live::new(common.bytes)?.into_source())?;
    let seen = first_seen(&testbed, &trial, &producer).await?;
    let sent = producer.wait_until_done().await?;
    let mut latencies: Vec<f64> =
        seen.iter().zip(&sent).map(|(seen, sent)| (*seen - *sent).as_secs_f64() * 1e3).collect();
    latencies.sort_by(f64::total_cmp);
    let by_server = live::server_latencies(&testbed, &trial, "1").await?;
    program.stop().await?;
    testbed.drop_table(&trial.table).await?;
    let machine = Machine::current(&testbed).await?;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
    let (p50, p95, p99, max) = (at(0.50), at(0.95), at(0.99), at(1.0));
    let text = format!(
        "{}\n{rate} events/s for {span:?}, batch timer {timer:?}: {} events, from produced to visible\n\
         p50 {p50:.0} ms, p95 {p95:.0} ms, p99 {p99:.0} ms, max {max:.0} ms\n\
         by the server's clock (_ingested_at): p50 {:.0} ms, p95 {:.0} ms, p99 {:.0} ms",
        machine.text(),
        latencies.len(),
        by_server[0],
        by_server[1],
        by_server[2],
    );
    let millis = json!({ "p50": p50, "p95": p95, "p99": p99, "max": max, "by_the_server": by_server });
    let json = json!({ "machine": machine, "rate": rate, "events": latencies.len(), "milliseconds": millis });
    write(&common.out, "latency.txt", &text)?;
    write(&common.out, "latency.json", &serde_json::to_string_pretty(&json)?)?;
    print(&text);
    Ok(())
}

/// When each record was first seen, by its number.
async fn first_seen(testbed: &Testbed, trial: &Trial, producer: &SteadyProducer) -> anyhow::Result<Vec<Instant>> {
    let mut seen: Vec<Option<Instant>> = Vec::new();
    let mut first_unseen = 0;
    let mut last_arrival = Instant::now();
    loop {
        let query = format!("SELECT duration_ms FROM {} WHERE duration_ms >= {first_unseen}", trial.table);
        let numbers: Vec<u32> = testbed.clickhouse.query(&query).fetch_all().await.context("poll for records")?;
        let now = Instant::now();
        for number in numbers.iter().map(|number| *number as usize) {
            if seen.len() <= number {
                seen.resize(number + 1, None);
            }
            if seen[number].is_none() {
                seen[number] = Some(now);
                last_arrival = now;
            }
        }
        first_unseen += seen[first_unseen..].iter().take_while(|at| at.is_some()).count();
        if producer.is_done() && first_unseen as u64 == producer.sent() {
            return Ok(seen.into_iter().flatten().collect());
        }
        if now - last_arrival > LANDING_TIMEOUT {
            bail!("wait for records: number {first_unseen} has not arrived within {LANDING_TIMEOUT:?}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
