//! Which records of ranges that are being taken over stand in the dead-letter topic already.
//! A partition and its intent go in, offsets come out. Reads only, and nothing at all where no range was announced.
//!
//! A worker that dies after a dead letter was acknowledged and before the commit leaves its record to the next owner, which
//! may be able to land it: the table was repaired meanwhile, or its decoder takes more. One record would then be in two
//! places. Nothing of a range is sent before it is announced, so the letters since then are all there can be.

use std::collections::HashMap;

use rdkafka::ClientConfig;
use tokio::sync::Mutex;

use super::Error;
use super::letter::Letter;
use super::read::{Found, Scan, Wanted};
use crate::dead_letter;
use crate::intent::Intent;
use crate::retry::Class;
use crate::write::Target;
use crate::write::failure::Failure;

/// How far the clocks of two workers may lie apart, in milliseconds.
const SKEW_MS: i64 = 600_000;

/// Looks for dead letters that an earlier owner has sent.
#[derive(Debug)]
pub struct SentLetters {
    kafka: ClientConfig,
    topic: String,
    /// One at a time: each reads with a client of its own.
    turn: Mutex<()>,
}

impl SentLetters {
    /// Opens no connection yet.
    pub fn new(mut kafka: ClientConfig, topic: &str) -> Self {
        kafka.set("group.id", "sluice-sent-letters");
        Self { kafka, topic: topic.to_owned(), turn: Mutex::default() }
    }

    /// The offsets of a partition in the ranges of `intent` that have a dead letter, in order.
    pub async fn among(&self, target: &Target, partition: i32, intent: &Intent) -> Result<Vec<i64>, Failure> {
        if intent.ranges.is_empty() {
            return Ok(Vec::new());
        }
        let _turn = self.turn.lock().await;
        let is_meant = |letter: &Letter| {
            let source = &letter.source;
            source.partition == partition
                && source.topic_id == Some(target.topic_id)
                && *source.topic == *target.topic
                && intent.ranges.iter().any(|announced| announced.range.contains(letter.offset))
        };
        let since = i64::try_from(intent.announced_at).unwrap_or(i64::MAX).saturating_mul(1000).saturating_sub(SKEW_MS);
        self.offsets(since, is_meant).await.map_err(|error| failure(&error))
    }

    async fn offsets(&self, since_ms: i64, is_meant: impl Fn(&Letter) -> bool) -> Result<Vec<i64>, Error> {
        let wanted = Wanted {
            topic: self.topic.clone(),
            since_ms: Some(since_ms.max(0)),
            whole: false,
            assumed: HashMap::new(),
        };
        let (mut scan, mut offsets) = (Scan::start(self.kafka.clone(), wanted)?, Vec::new());
        loop {
            match scan.next().await? {
                Found::Letter(letter) => offsets.extend(is_meant(&letter).then_some(letter.offset)),
                Found::Again | Found::Foreign => {}
                Found::End => break,
            }
        }
        offsets.sort_unstable();
        Ok(offsets)
    }
}

fn failure(error: &Error) -> Failure {
    let what = format!("the dead-letter topic does not say what it holds: {error}");
    let class = match error {
        Error::Kafka { cause, .. } => dead_letter::class(cause),
        _ => Class::Operator,
    };
    Failure { class, what, code: String::new(), row: None }
}
