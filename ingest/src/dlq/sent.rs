//! Which records of ranges that are being taken over stand in the dead-letter topic already.
//! A partition and its intent go in, offsets come out. Reads only, and nothing at all where no range was announced.
//!
//! A worker that dies after a dead letter was acknowledged and before the commit leaves its record to the next owner, which
//! may be able to land it: the table was repaired meanwhile, or its decoder takes more. One record would then be in two
//! places. Nothing of a range is sent before it is announced, so the letters since then are all there can be.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rdkafka::ClientConfig;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Error;
use super::letter::Letter;
use super::read::{Found, Scan, Wanted};
use crate::dead_letter;
use crate::intent::Intent;
use crate::retry::Class;
use crate::write::failure::Failure;

/// How far the clocks of two workers may lie apart, in milliseconds.
const SKEW_MS: i64 = 600_000;

/// Looks for dead letters that an earlier owner has sent.
#[derive(Debug)]
pub struct SentLetters {
    kafka: ClientConfig,
    topic: String,
    /// What was read last. One reads at a time, and those who wait meanwhile, for other partitions of the same assignment,
    /// need not read again.
    last: Mutex<Option<Letters>>,
    /// How many wait for it.
    waiting: AtomicUsize,
}

/// All dead letters since a time.
#[derive(Debug)]
struct Letters {
    began: Instant,
    since_ms: i64,
    /// Offsets by topic and partition.
    offsets: HashMap<(Uuid, i32), Vec<i64>>,
}

/// Somebody who waits; an assignment may end meanwhile.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn wait(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SentLetters {
    /// Opens no connection yet.
    pub fn new(mut kafka: ClientConfig, topic: &str) -> Self {
        kafka.set("group.id", "sluice-sent-letters");
        Self { kafka, topic: topic.to_owned(), last: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// The offsets of a topic partition in the ranges of `intent` that have a dead letter, in order.
    pub async fn among(&self, topic_id: Uuid, partition: i32, intent: &Intent) -> Result<Vec<i64>, Failure> {
        if intent.ranges.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Instant::now();
        let since = i64::try_from(intent.announced_at).unwrap_or(i64::MAX).saturating_mul(1000).saturating_sub(SKEW_MS);
        let turn = Turn::wait(&self.waiting);
        let mut last = self.last.lock().await;
        drop(turn);
        let letters = match last.take() {
            Some(letters) if letters.began >= asked && letters.since_ms <= since => letters,
            // A little more, since those who wait may have announced a little earlier.
            _ => self.read(since.saturating_sub(SKEW_MS).max(0)).await.map_err(|error| failure(&error))?,
        };
        let is_meant = |offset: &&i64| intent.ranges.iter().any(|announced| announced.range.contains(**offset));
        let own = letters.offsets.get(&(topic_id, partition)).into_iter().flatten();
        let mut offsets: Vec<i64> = own.filter(is_meant).copied().collect();
        *last = (self.waiting.load(Ordering::Relaxed) > 0).then_some(letters);
        offsets.sort_unstable();
        Ok(offsets)
    }

    async fn read(&self, since_ms: i64) -> Result<Letters, Error> {
        let wanted =
            Wanted { topic: self.topic.clone(), since_ms: Some(since_ms), whole: false, assumed: HashMap::new() };
        let mut letters = Letters { began: Instant::now(), since_ms, offsets: HashMap::new() };
        let mut scan = Scan::start(self.kafka.clone(), wanted)?;
        loop {
            match scan.next().await? {
                Found::Letter(Letter { source, offset, .. }) => {
                    if let Some(id) = source.topic_id {
                        letters.offsets.entry((id, source.partition)).or_default().push(offset);
                    }
                }
                Found::Again | Found::Foreign => {}
                Found::End => return Ok(letters),
            }
        }
    }
}

fn failure(error: &Error) -> Failure {
    let what = format!("the dead-letter topic does not say what it holds: {error}");
    let class = match error {
        Error::Kafka { cause, .. } => dead_letter::class(cause),
        _ => Class::Operator,
    };
    Failure::new(class, what)
}
