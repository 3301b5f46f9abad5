//! Which records of ranges that are being taken over stand in the dead-letter topic already.
//! A partition and its intent go in, offsets come out. Reads only, and nothing at all where no range was announced.
//!
//! A worker that dies after a dead letter was acknowledged and before the commit leaves its record to the next owner, which
//! may be able to land it: the table was repaired meanwhile, or its decoder takes more. One record would then be in two
//! places. Nothing of a range is sent before it is announced, so the letters since then are all there can be.
//!
//! Everybody who asks says what is meant first; whoever has the turn then reads the topic once for all of them. Letters
//! that nobody means are not kept, so memory is bounded by the ranges, whatever the topic holds.

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

/// How far the clocks of two workers may lie apart, in milliseconds.
const SKEW_MS: i64 = 600_000;

/// Looks for dead letters that an earlier owner has sent.
#[derive(Debug)]
pub struct SentLetters {
    kafka: ClientConfig,
    topic: String,
    /// Those who wait for the next reading.
    asking: Mutex<Vec<Question>>,
    /// One reads at a time.
    turn: tokio::sync::Mutex<()>,
}

/// What somebody wants to know.
#[derive(Debug)]
struct Question {
    topic_id: Uuid,
    partition: i32,
    since_ms: i64,
    ranges: Vec<Range>,
    answer: oneshot::Sender<Result<Vec<i64>, Failure>>,
}

/// The ranges that are meant, by topic and partition.
type Ranges = HashMap<(Uuid, i32), Vec<Range>>;

impl SentLetters {
    /// Opens no connection yet. `group` is never joined, but a broker may ask for the right to use it.
    pub fn new(mut kafka: ClientConfig, topic: &str, group: &str) -> Self {
        kafka.set("group.id", group);
        Self { kafka, topic: topic.to_owned(), asking: Mutex::default(), turn: tokio::sync::Mutex::default() }
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
        self.asking().push(Question { topic_id, partition, since_ms, ranges, answer });
        loop {
            tokio::select! {
                biased;
                said = &mut answered => return said.unwrap_or_else(|_| Err(given_up())),
                turn = self.turn.lock() => {
                    self.read_for_all().await;
                    drop(turn);
                }
            }
        }
    }

    fn asking(&self) -> MutexGuard<'_, Vec<Question>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the topic once and answers everybody who has asked by now and still waits.
    async fn read_for_all(&self) {
        let mut asked = mem::take(&mut *self.asking());
        asked.retain(|question| !question.answer.is_closed());
        let Some(since_ms) = asked.iter().map(|question| question.since_ms).min() else { return };
        let ranges = ranges(&asked);
        let found = self.read(since_ms, ranges).await.map_err(|error| failure(&error));
        for Question { topic_id, partition, ranges, answer, .. } in asked {
            let own = |found: &HashMap<_, Vec<i64>>| {
                let own = found.get(&(topic_id, partition)).into_iter().flatten().copied();
                let mut own: Vec<_> = own.filter(|offset| is_in(&ranges, *offset)).collect();
                own.sort_unstable();
                own
            };
            // Whoever is gone meanwhile needs no answer.
            drop(answer.send(found.as_ref().map(own).map_err(Failure::clone)));
        }
    }

    async fn read(&self, since_ms: i64, ranges: Ranges) -> Result<HashMap<(Uuid, i32), Vec<i64>>, ScanError> {
        let ranges = Arc::new(ranges);
        let is_meant = move |source: &Source, offset: i64| {
            let wanted = source.topic_id.and_then(|id| ranges.get(&(id, source.partition)));
            is_injected(Fault::KeepAllLetters) || wanted.is_some_and(|ranges| is_in(ranges, offset))
        };
        let wanted = ScanOptions {
            topic: self.topic.clone(),
            since_ms: Some(since_ms),
            keep: Detail::Facts,
            only: Some(Box::new(is_meant)),
            assumed: HashMap::new(),
        };
        let mut found: HashMap<_, Vec<i64>> = HashMap::new();
        let mut scan = Scan::start(self.kafka.clone(), wanted)?;
        loop {
            match scan.next().await? {
                Item::Letter(Letter { source, offset, .. }) => {
                    if let Some(id) = source.topic_id {
                        found.entry((id, source.partition)).or_default().push(offset);
                    }
                }
                Item::Again | Item::Foreign => {}
                Item::End => return Ok(found),
            }
        }
    }
}

fn ranges(asked: &[Question]) -> Ranges {
    let mut ranges = Ranges::new();
    for question in asked {
        ranges.entry((question.topic_id, question.partition)).or_default().extend(&question.ranges);
    }
    ranges
}

fn is_in(ranges: &[Range], offset: i64) -> bool {
    ranges.iter().any(|range| range.contains(offset))
}

/// Whoever had the turn ended before it had read: its assignment is over.
fn given_up() -> Failure {
    Failure::new(Class::Transient, "the dead-letter topic was not read to its end; it is read again")
}

fn failure(error: &ScanError) -> Failure {
    let what = format!("the dead-letter topic does not say what it holds: {error}");
    let class = match error {
        ScanError::Kafka { cause, .. } => producer::class(cause),
        _ => Class::Operator,
    };
    Failure::new(class, what)
}
