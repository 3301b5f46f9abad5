//! Finds records of ranges being taken over that already have a dead letter.
//! It only reads, and reads nothing if no range was announced.
//!
//! A worker that dies after a dead letter was acknowledged and before the commit leaves its record to the next owner,
//! which may be able to land it: the table may have been repaired, or its decoder may accept more. The record would
//! then be in two places. Nothing of a range is sent before it is announced, so only letters since then matter.
//!
//! Each caller queues its query; the caller that then holds the lock reads the topic once for all queries. Letters
//! outside the queried ranges are not kept, so memory is bounded by the ranges, whatever the topic contains.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientConfig;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::letter::{Letter, Source};
use super::producer;
use super::scan::{Detail, Item, Scan, ScanError, ScanOptions};
use crate::exactly_once::intent::Intent;
use crate::exactly_once::range::Range;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};

/// Maximum clock skew between two workers, in milliseconds.
const SKEW_MS: i64 = 600_000;

/// Finds dead letters that an earlier owner has sent.
#[derive(Debug)]
pub struct SentLetters {
    kafka: ClientConfig,
    topic: String,
    /// Queries that wait for the next read.
    pending: Mutex<Vec<PendingQuery>>,
    /// Held by the caller that reads.
    reader: tokio::sync::Mutex<()>,
}

/// The query of one caller.
#[derive(Debug)]
struct PendingQuery {
    topic_id: Uuid,
    partition: i32,
    since_ms: i64,
    ranges: Vec<Range>,
    answer: oneshot::Sender<Result<Vec<i64>, Failure>>,
}

/// The queried ranges, by topic and partition.
type Ranges = HashMap<(Uuid, i32), Vec<Range>>;

impl SentLetters {
    /// Creates a `SentLetters` without connecting. `group` is never joined, but a broker may require the right to use it.
    pub fn new(mut kafka: ClientConfig, topic: &str, group: &str) -> Self {
        kafka.set("group.id", group);
        Self { kafka, topic: topic.to_owned(), pending: Mutex::default(), reader: tokio::sync::Mutex::default() }
    }

    /// The offsets of a topic partition in the ranges of `intent` that have a dead letter, in order.
    pub async fn among(&self, topic_id: Uuid, partition: i32, intent: &Intent) -> Result<Vec<i64>, Failure> {
        if intent.ranges.is_empty() {
            return Ok(Vec::new());
        }
        let since_ms =
            i64::try_from(intent.announced_at).unwrap_or(i64::MAX).saturating_mul(1000).saturating_sub(SKEW_MS).max(0);
        let ranges = intent.ranges.iter().map(|announced| announced.range).collect();
        let (answer, mut answered) = oneshot::channel();
        self.pending().push(PendingQuery { topic_id, partition, since_ms, ranges, answer });
        loop {
            tokio::select! {
                biased;
                result = &mut answered => return result.unwrap_or_else(|_| Err(abandoned())),
                reader = self.reader.lock() => {
                    self.read_for_all().await;
                    drop(reader);
                }
            }
        }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<PendingQuery>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the topic once and responds to every pending query whose caller still waits.
    async fn read_for_all(&self) {
        let mut queries = mem::take(&mut *self.pending());
        queries.retain(|query| !query.answer.is_closed());
        let Some(since_ms) = queries.iter().map(|query| query.since_ms).min() else { return };
        let ranges = ranges(&queries);
        let letters = self.read(since_ms, ranges).await.map_err(|error| failure(&error));
        for PendingQuery { topic_id, partition, ranges, answer, .. } in queries {
            let matching = |letters: &HashMap<_, Vec<i64>>| {
                let matching = letters.get(&(topic_id, partition)).into_iter().flatten().copied();
                let mut matching: Vec<_> = matching.filter(|offset| any_contains(&ranges, *offset)).collect();
                matching.sort_unstable();
                matching
            };
            // The caller may be gone by now.
            drop(answer.send(letters.as_ref().map(matching).map_err(Failure::clone)));
        }
    }

    async fn read(&self, since_ms: i64, ranges: Ranges) -> Result<HashMap<(Uuid, i32), Vec<i64>>, ScanError> {
        let ranges = Arc::new(ranges);
        let is_queried = move |source: &Source, offset: i64| {
            let queried = source.topic_id.and_then(|id| ranges.get(&(id, source.partition)));
            is_injected(Fault::KeepAllLetters) || queried.is_some_and(|ranges| any_contains(ranges, offset))
        };
        let options = ScanOptions {
            topic: self.topic.clone(),
            since_ms: Some(since_ms),
            keep: Detail::Facts,
            only: Some(Box::new(is_queried)),
            assumed: HashMap::new(),
        };
        let mut offsets: HashMap<_, Vec<i64>> = HashMap::new();
        let mut scan = Scan::start(self.kafka.clone(), options)?;
        loop {
            match scan.next().await? {
                Item::Letter(Letter { source, offset, .. }) => {
                    if let Some(id) = source.topic_id {
                        offsets.entry((id, source.partition)).or_default().push(offset);
                    }
                }
                Item::Duplicate | Item::Foreign => {}
                Item::End => return Ok(offsets),
            }
        }
    }
}

fn ranges(queries: &[PendingQuery]) -> Ranges {
    let mut ranges = Ranges::new();
    for query in queries {
        ranges.entry((query.topic_id, query.partition)).or_default().extend(&query.ranges);
    }
    ranges
}

fn any_contains(ranges: &[Range], offset: i64) -> bool {
    ranges.iter().any(|range| range.contains(offset))
}

/// The caller that held the lock was dropped before it had finished reading, because its assignment ended.
fn abandoned() -> Failure {
    Failure::new(Class::Transient, "the dead-letter topic was not read to its end; reading it again")
}

fn failure(error: &ScanError) -> Failure {
    let message = format!("the dead-letter topic cannot be read: {error}");
    let class = match error {
        ScanError::Kafka { cause, .. } => producer::class(cause),
        _ => Class::Operator,
    };
    Failure::new(class, message)
}
