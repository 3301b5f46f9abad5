//! Waits until everything produced has landed or been dead-lettered, or until nothing arrives any more.
//! It never judges; the account reports what is missing.

use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::AccountError;
use super::{clickhouse, dead_letters};
use crate::plan::Totals;
use crate::run_context::RunContext;
use sluice_schemas::concurrency::blocking;

/// Interval between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Timeout of one poll of a store.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The outcome of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Records that were acknowledged by Kafka.
    pub produced: u64,
    /// Rows and dead letters.
    pub arrived: u64,
    /// Records that had not arrived when the wait began.
    pub behind: u64,
    /// Time from the end of the drive until it was seen that the last of them had arrived.
    pub took: Duration,
}

impl Settled {
    /// Whether everything produced has arrived.
    pub fn is_complete(&self) -> bool {
        self.arrived >= self.produced
    }
}

/// Waits until as many records have landed or been dead-lettered as Kafka has acknowledged. Gives up when nothing has
/// arrived for `idle_limit`, with the error of ClickHouse if it fails at that time, or when stopped. Calls `progress` with the
/// records that have arrived and those produced. `letters_before` are the dead letters of earlier trials. The drive ended at `driven`: since then, its last answers and
/// acknowledgements have been awaited.
pub async fn settle(
    context: RunContext<'_>,
    (acknowledged, letters_before): (&[Totals], u64),
    (driven, idle_limit): (Instant, Duration),
    stop: &CancellationToken,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Result<Settled, AccountError> {
    let produced = acknowledged.iter().map(Totals::through_kafka).sum();
    let mut last_arrival = Instant::now();
    let mut settled = Settled { produced, arrived: 0, behind: produced, took: Duration::ZERO };
    let (mut landed, mut dead_lettered, mut kafka_again, mut failed) = (0, 0, Instant::now(), None);
    let mut polls = tokio::time::interval(POLL_INTERVAL);
    loop {
        tokio::select! {
            _ = polls.tick() => {}
            () = stop.cancelled() => return Ok(settled),
        }
        // A frozen store returns nothing, not even an error. Both are no progress, and may pass. Each store is polled separately,
        // so that an unavailable one does not hide the contents of the other.
        match timeout(RESPONSE_TIMEOUT, count_rows(context)).await {
            Ok(Ok(rows)) => (landed, failed) = (rows, None),
            Ok(Err(error)) => failed = Some(error),
            Err(_) => {}
        }
        if kafka_again <= Instant::now() {
            let letters = timeout(RESPONSE_TIMEOUT, letters_since(context, letters_before)).await;
            match letters {
                Ok(Ok(letters)) => dead_lettered = letters,
                // Not at every poll, since each of these waits for a store that does not answer.
                Ok(Err(_)) | Err(_) => kafka_again = Instant::now() + RESPONSE_TIMEOUT,
            }
        }
        let arrived = landed + dead_lettered;
        if arrived > settled.arrived {
            let behind = if settled.arrived == 0 { produced.saturating_sub(arrived) } else { settled.behind };
            last_arrival = Instant::now();
            settled = Settled { arrived, behind, took: last_arrival.saturating_duration_since(driven), ..settled };
            progress(arrived, produced);
        }
        if settled.is_complete() {
            return Ok(settled);
        }
        if last_arrival.elapsed() > idle_limit {
            return failed.map_or(Ok(settled), Err);
        }
    }
}

async fn count_rows(context: RunContext<'_>) -> Result<u64, AccountError> {
    let client = connect::clickhouse(context.stores, context.names);
    let mut rows = 0;
    for table in clickhouse::TABLES {
        rows += clickhouse::count_landed(&client, table.expressions.table, context.plan.since()).await?;
    }
    Ok(rows)
}

async fn letters_since(context: RunContext<'_>, before: u64) -> Result<u64, AccountError> {
    Ok(count_letters(context).await?.saturating_sub(before))
}

/// Number of records in the dead-letter topic.
pub async fn count_letters(context: RunContext<'_>) -> Result<u64, AccountError> {
    let reader: BaseConsumer = dead_letters::reader(context.stores, context.names)?;
    let name = context.names.topic(topic::CLICKHOUSE_ERRORS);
    Ok(blocking(move || dead_letters::record_count(&reader, &name)).await?)
}
