//! The commit of offsets: when one is due, the call to Kafka, and its acknowledgement.
//! At most one commit of a partition is in flight. A commit is retried until Kafka acknowledges it; nothing that it announces
//! is written before that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::warn;
use uuid::Uuid;

use super::intent::Intent;
use super::lease::Lease;
use super::ledger::{Ledger, OffsetCommit};
use crate::clock::Moment;
use crate::fault::{Failpoint, reached};
use crate::kafka::topic_id::TopicIds;

/// How long after a failed commit the next one is tried.
pub const RETRY_WAIT: Duration = Duration::from_secs(1);
/// How long an offset may wait for the next announcement to carry it along.
pub const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// The commits of one partition during one assignment.
#[derive(Debug)]
pub struct Commits {
    /// What may be committed.
    pub ledger: Ledger,
    /// How long the partition may be assumed to be ours; an acknowledged commit extends it.
    pub lease: Arc<Lease>,
    /// When the commit in flight was sent, for its stage and for the lease.
    sent: Option<(Instant, Moment)>,
    last: Option<Instant>,
    not_before: Option<Instant>,
}

/// What the partition is doing while a commit is considered.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Batches wait or are being written, so the lease has to be kept.
    pub is_busy: bool,
    /// The worker is shutting down, so no offset waits for the next announcement.
    pub is_draining: bool,
}

impl Commits {
    /// No commit yet. `committed` is the group's offset and `intent` what was found beside it; `decoder` is the fingerprint of
    /// the decoder in use.
    pub fn new(lease: Lease, decoder: u64, committed: Option<i64>, intent: Option<&Intent>) -> Self {
        let ledger = Ledger::new(decoder, committed, intent);
        Self { ledger, lease: Arc::new(lease), sent: None, last: None, not_before: None }
    }

    /// What to commit now, if anything; `unix` is the wall clock in seconds since 1970. An announcement is sent at once; an
    /// offset alone waits for the next announcement for at most [`COMMIT_EVERY`].
    pub fn due(&mut self, now: Instant, unix: u64, work: Work) -> Option<OffsetCommit> {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return None;
        }
        let moment = Moment::now();
        let renew = work.is_busy && self.lease.is_aging(moment);
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= COMMIT_EVERY);
        if !(renew || is_due || work.is_draining || self.ledger.has_unannounced()) {
            return None;
        }
        let due = self.ledger.to_commit(unix, renew)?;
        self.sent = Some((now, moment));
        self.last = Some(now);
        Some(due)
    }

    /// Whether a commit is in flight.
    pub fn is_in_flight(&self) -> bool {
        self.sent.is_some()
    }

    /// Kafka has answered the commit in flight; returns how long that took.
    pub fn answered(&mut self, is_acknowledged: bool, now: Instant) -> Option<Duration> {
        self.ledger.answered(is_acknowledged);
        self.not_before = (!is_acknowledged).then(|| now + RETRY_WAIT);
        let (sent, moment) = self.sent.take()?;
        if is_acknowledged {
            self.lease.prove(moment);
        }
        Some(now.saturating_duration_since(sent))
    }
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Kafka has acknowledged it: the offset and the intent may be relied upon.
    Acknowledged,
    /// Kafka has not; it is tried again.
    Failed,
    /// The topic was deleted and recreated, so nothing was committed.
    Recreated,
}

/// Commits offsets of one topic and waits for the acknowledgement, since librdkafka reports none for commits that nobody
/// waits for. Blocks.
///
/// librdkafka does not notice that a topic was deleted and recreated where its next offset exists in both. So the identity of
/// the topic is checked after the records have been consumed and before they are announced.
pub fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic_ids: &TopicIds,
    (topic, topic_id): (&str, Option<Uuid>),
    offsets: &TopicPartitionList,
) -> Outcome {
    let is_same = topic_ids.is_same(topic, topic_id);
    reached(Failpoint::Committing);
    if !is_same {
        return Outcome::Recreated;
    }
    let result = consumer.commit(offsets, CommitMode::Sync);
    reached(Failpoint::Committed);
    match result {
        Ok(()) => Outcome::Acknowledged,
        Err(error) => {
            warn!(%error, "commit failed; it is tried again");
            Outcome::Failed
        }
    }
}

/// Offsets and metadata of several partitions in the form that Kafka's client takes.
pub(crate) fn offsets<'a>(due: impl Iterator<Item = (&'a str, i32, OffsetCommit)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition, OffsetCommit { offset, metadata }) in due {
        let mut entry = list.add_partition(topic, partition);
        entry.set_offset(Offset::Offset(offset)).expect("an offset of a record is in range");
        entry.set_metadata(metadata);
    }
    list
}
