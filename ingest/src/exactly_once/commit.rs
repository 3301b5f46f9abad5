//! Offset commits: when one is due, the call to Kafka, and the acknowledgement.
//! At most one commit of a partition is in flight. A commit is retried until Kafka acknowledges it; no range that it announces
//! is written before that. The final commit of a partition that is revoked is not retried.
//!
//! The poll loop ([`crate::lane::consume`]) calls [`commit`]; the revocation of partitions ([`crate::lane::rebalance`]) calls
//! [`commit_final`]. Both check first that the topic still has the ID of the assignment, with a request to Kafka. An
//! operator's commands commit in `operator/offsets`.

use std::collections::BTreeMap;
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
use crate::kafka::topic_id::{RESPONSE_TIMEOUT, TopicIds, TopicState};

/// Wait before a failed commit is retried.
pub const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Maximum time that an offset waits to be committed with the next announcement.
pub const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// The commits of one partition during one assignment.
#[derive(Debug)]
pub struct Commits {
    /// Offsets and ranges that are not yet committed.
    pub ledger: Ledger,
    /// The lease on the partition; an acknowledged commit renews it.
    pub lease: Arc<Lease>,
    /// When the commit in flight was sent, for the stage metric and for the lease.
    sent: Option<(Instant, Moment)>,
    last: Option<Instant>,
    not_before: Option<Instant>,
}

/// State of the partition that affects whether a commit is due.
#[derive(Debug, Clone, Copy)]
pub struct PartitionState {
    /// Whether batches are waiting or being written, so that the lease has to be renewed.
    pub is_busy: bool,
    /// Whether the worker is shutting down, so that no offset waits for the next announcement.
    pub is_draining: bool,
}

impl Commits {
    /// Creates the commit state from the group's offset and the intent in its metadata; `decoder` is the fingerprint of the decoder
    /// in use.
    pub fn new(lease: Lease, decoder: u64, committed: Option<i64>, intent: Option<&Intent>) -> Self {
        let ledger = Ledger::new(decoder, committed, intent);
        Self { ledger, lease: Arc::new(lease), sent: None, last: None, not_before: None }
    }

    /// Returns the commit to send now, if any; `unix_seconds` is the wall clock in seconds since 1970. An announcement is sent
    /// at once; an offset alone waits for the next announcement for at most [`COMMIT_INTERVAL`].
    pub fn next_commit(&mut self, now: Instant, unix_seconds: u64, state: PartitionState) -> Option<OffsetCommit> {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return None;
        }
        let moment = Moment::now();
        let renew = state.is_busy && self.lease.needs_renewal(moment);
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= COMMIT_INTERVAL);
        if !(renew || is_due || state.is_draining || self.ledger.has_unannounced()) {
            return None;
        }
        let commit = self.ledger.next_commit(unix_seconds, renew)?;
        self.sent = Some((now, moment));
        self.last = Some(now);
        Some(commit)
    }

    /// Whether a commit is in flight.
    pub fn is_in_flight(&self) -> bool {
        self.sent.is_some()
    }

    /// Handles Kafka's response to the commit in flight; returns how long it took.
    pub fn handle_response(&mut self, is_acknowledged: bool, now: Instant) -> Option<Duration> {
        self.ledger.handle_commit_response(is_acknowledged);
        self.not_before = (!is_acknowledged).then(|| now + RETRY_WAIT);
        let (sent, moment) = self.sent.take()?;
        if is_acknowledged {
            self.lease.renew(moment);
        }
        Some(now.saturating_duration_since(sent))
    }
}

/// Result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Kafka has acknowledged it: the offset and the intent are durable.
    Acknowledged,
    /// Kafka has not acknowledged it; it is retried.
    Failed,
    /// The topic was deleted and recreated, so nothing was committed.
    Recreated,
}

/// Commits offsets of one topic and waits for the acknowledgement, since librdkafka reports none for asynchronous commits.
/// Blocks.
///
/// librdkafka does not notice that a topic was deleted and recreated if its next offset exists in both. So the topic's ID is
/// checked after the records have been consumed and before they are announced.
pub fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic_ids: &TopicIds,
    (topic, topic_id): (&str, Option<Uuid>),
    offsets: &TopicPartitionList,
) -> Outcome {
    let state = topic_ids.state(topic, topic_id);
    reached(Failpoint::Committing);
    match state {
        TopicState::Same => {}
        TopicState::Recreated => return Outcome::Recreated,
        // A commit that arrives after the topic is recreated would skip records of the new one.
        TopicState::Missing => return Outcome::Failed,
    }
    let result = consumer.commit(offsets, CommitMode::Sync);
    reached(Failpoint::Committed);
    match result {
        Ok(()) => Outcome::Acknowledged,
        Err(error) => {
            warn!(%error, "commit failed; retrying");
            Outcome::Failed
        }
    }
}

/// Maximum time that [`commit_final`] spends on the checks of topic IDs: one check may begin just before the limit.
pub const FINAL_CHECK_TIMEOUT: Duration = RESPONSE_TIMEOUT.saturating_mul(2);

/// The final commit of a partition that is revoked.
#[derive(Debug)]
pub struct FinalCommit<'a> {
    /// The topic.
    pub topic: &'a str,
    /// ID of the topic when the worker started.
    pub topic_id: Option<Uuid>,
    /// The partition.
    pub partition: i32,
    /// The offset and its metadata.
    pub due: OffsetCommit,
}

/// Commits the final offsets of partitions that are revoked, with one call, which is not retried: without it, the next owner
/// finds the batches in the table. Blocks; it is called inside `poll`, which is safe because [`TopicIds`] has its own client.
///
/// A partition whose topic was deleted is left out, because its offset would skip records of the new topic.
/// Each topic is checked once, within [`FINAL_CHECK_TIMEOUT`] in total; a topic counts as unchanged if Kafka does not respond.
pub fn commit_final<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic_ids: &TopicIds,
    mut commits: Vec<FinalCommit<'_>>,
) {
    let begin = Instant::now();
    let mut checked = BTreeMap::new();
    commits.retain(|commit| {
        *checked.entry(commit.topic).or_insert_with(|| {
            let is_late = begin.elapsed() >= RESPONSE_TIMEOUT;
            let is_same = is_late || topic_ids.state(commit.topic, commit.topic_id) == TopicState::Same;
            if !is_same {
                warn!(topic = commit.topic, "the topic was deleted; its offsets are not committed");
            }
            is_same
        })
    });
    let offsets = offsets(commits.into_iter().map(|commit| (commit.topic, commit.partition, commit.due)));
    if offsets.count() > 0
        && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
    {
        warn!(%error, "commit at revocation failed; the next owner will find those batches in the table");
    }
}

/// Converts commits of several partitions to the type of Kafka's client.
pub(crate) fn offsets<'a>(due: impl Iterator<Item = (&'a str, i32, OffsetCommit)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition, OffsetCommit { offset, metadata }) in due {
        let mut entry = list.add_partition(topic, partition);
        entry.set_offset(Offset::Offset(offset)).expect("an offset of a record is in range");
        entry.set_metadata(metadata);
    }
    list
}
