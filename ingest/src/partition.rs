//! One assigned topic partition from intake to watermark.
//! Decoded and rejected records, the clock and the writer's events go in; sealed batches and offsets to commit come out.
//! It holds no connection; whoever owns it does the I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Cut, Limits, OpenBatch};
use crate::commit::{Ledger, Range};
use crate::decode::Origin;
use crate::write::Assigned;

/// Why a partition takes nothing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The budget is used up.
    Memory = 1,
    /// Its store does not answer, or an operator is needed.
    Store = 2,
    /// ClickHouse refused its rows; only a restart after a repair goes on.
    Refused = 4,
    /// The worker is shutting down.
    Drain = 8,
}

/// How long after a failed commit the next one is tried.
const COMMIT_WAIT: Duration = Duration::from_secs(1);

/// The state of one partition during one assignment.
#[derive(Debug)]
pub struct Partition {
    /// Which assignment this is.
    pub of: Assigned,
    /// Provenance of its rows.
    pub origin: Origin,
    /// Ends its writes when the assignment ends.
    pub cancel: CancellationToken,
    open: Option<OpenBatch>,
    sealed: VecDeque<Batch>,
    is_writing: bool,
    ledger: Ledger,
    commit_sent: Option<Instant>,
    commit_after: Option<Instant>,
    holds: u8,
    /// What Kafka was last told.
    is_paused: bool,
}

impl Partition {
    /// A partition at the start of an assignment.
    pub fn new(of: Assigned, origin: Origin, cancel: CancellationToken) -> Self {
        Self {
            of,
            origin,
            cancel,
            open: None,
            sealed: VecDeque::new(),
            is_writing: false,
            ledger: Ledger::default(),
            commit_sent: None,
            commit_after: None,
            holds: 0,
            is_paused: false,
        }
    }

    /// The batch that takes records in; `open` makes one if there is none.
    pub fn open_with(&mut self, open: impl FnOnce() -> OpenBatch) -> &mut OpenBatch {
        self.open.get_or_insert_with(open)
    }

    /// Why the open batch has to be sealed now, if it has to.
    pub fn cut(&self, limits: &Limits, now: Instant) -> Option<Cut> {
        self.open.as_ref()?.cut(limits, now)
    }

    /// Bytes in the open batch.
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenBatch::bytes)
    }

    /// Seals the open batch, if there is one, and shows it.
    pub fn seal(&mut self) -> Option<&Batch> {
        let batch = self.open.take()?.seal();
        self.ledger.sealed(batch.range);
        self.sealed.push_back(batch);
        self.sealed.back()
    }

    /// The next batch to write; one at a time, so that what is in flight stays one contiguous range.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.is_writing || self.is_held(Hold::Refused) {
            return None;
        }
        let batch = self.sealed.pop_front()?;
        self.is_writing = true;
        Some(batch)
    }

    /// A batch is durable.
    pub fn written(&mut self, range: Range) {
        self.is_writing = false;
        self.ledger.done(range);
        self.release(Hold::Store);
    }

    /// ClickHouse refused a batch: what is held in memory is let go, since Kafka keeps it all.
    pub fn refused(&mut self) {
        self.is_writing = false;
        self.hold(Hold::Refused);
        self.abandon();
    }

    /// Lets go of everything that is not being written.
    pub fn abandon(&mut self) {
        self.open = None;
        self.sealed.clear();
    }

    /// Whether a batch is being written.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Whether an offset is being committed.
    pub fn is_committing(&self) -> bool {
        self.commit_sent.is_some()
    }

    /// Whether batches wait or are being written.
    pub fn is_busy(&self) -> bool {
        self.is_writing || !self.sealed.is_empty()
    }

    /// Whether nothing is left to write or to commit.
    pub fn is_settled(&self) -> bool {
        self.open.is_none() && !self.is_busy() && (self.ledger.is_settled() || self.is_held(Hold::Refused))
    }

    /// The offset to commit now, if there is one.
    pub fn to_commit(&mut self, now: Instant) -> Option<i64> {
        if self.commit_after.is_some_and(|after| now < after) {
            return None;
        }
        let offset = self.ledger.to_commit()?;
        self.commit_sent = Some(now);
        Some(offset)
    }

    /// Kafka answered the commit; says how long that took.
    pub fn commit_answered(&mut self, acknowledged: bool, now: Instant) -> Option<Duration> {
        self.ledger.answered(acknowledged);
        self.commit_after = (!acknowledged).then(|| now + COMMIT_WAIT);
        self.commit_sent.take().map(|sent| now.saturating_duration_since(sent))
    }

    /// The offset below which nothing is missing, if anything was written in this assignment.
    pub fn watermark(&self) -> Option<i64> {
        self.ledger.watermark()
    }

    /// Takes nothing more in for this reason.
    pub fn hold(&mut self, why: Hold) {
        self.holds |= why as u8;
    }

    /// This reason is gone; others may remain.
    pub fn release(&mut self, why: Hold) {
        self.holds &= !(why as u8);
    }

    /// Whether it is held for this reason.
    pub fn is_held(&self, why: Hold) -> bool {
        self.holds & why as u8 != 0
    }

    /// What Kafka has to be told: pause (`true`) or resume (`false`), if it does not know yet.
    pub fn flow_change(&mut self) -> Option<bool> {
        let wanted = self.holds != 0;
        let is_news = wanted != self.is_paused;
        self.is_paused = wanted;
        is_news.then_some(wanted)
    }

    /// Whether Kafka was told to pause it.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use uuid::Uuid;

    fn partition() -> Partition {
        let of = Assigned { pipeline: 0, partition: 0, epoch: 1 };
        Partition::new(of, Origin::new("t", Uuid::nil(), 0), CancellationToken::new())
    }

    fn take(partition: &mut Partition, offset: i64) {
        let budget = Budget::new(1 << 20, 1);
        let batch = partition.open_with(|| OpenBatch::open(offset, Instant::now(), budget.permit(0)));
        batch.note(offset, None, None);
        batch.push_row(0, b"row");
    }

    #[test]
    fn one_batch_is_written_at_a_time_and_only_then_its_offset_is_due() {
        let mut partition = partition();
        for offset in [7, 9] {
            take(&mut partition, offset);
            partition.seal();
        }
        let now = Instant::now();
        let first = partition.next_batch().unwrap();
        assert!(partition.next_batch().is_none());
        assert_eq!(partition.to_commit(now), None);
        partition.written(first.range);
        assert_eq!(partition.to_commit(now), Some(8));
        assert!(partition.next_batch().is_some());
    }

    #[test]
    fn a_failed_commit_waits_before_it_is_tried_again() {
        let mut partition = partition();
        take(&mut partition, 0);
        partition.seal();
        let batch = partition.next_batch().unwrap();
        partition.written(batch.range);
        let now = Instant::now();
        assert_eq!(partition.to_commit(now), Some(1));
        partition.commit_answered(false, now);
        assert_eq!(partition.to_commit(now), None);
        assert_eq!(partition.to_commit(now + COMMIT_WAIT), Some(1));
    }

    #[test]
    fn it_flows_again_only_when_every_reason_is_gone() {
        let mut partition = partition();
        partition.hold(Hold::Memory);
        partition.hold(Hold::Store);
        assert_eq!(partition.flow_change(), Some(true));
        partition.release(Hold::Memory);
        assert_eq!(partition.flow_change(), None);
        partition.release(Hold::Store);
        assert_eq!(partition.flow_change(), Some(false));
    }

    #[test]
    fn a_refused_partition_writes_nothing_more_and_commits_nothing_of_it() {
        let mut partition = partition();
        for offset in [0, 1] {
            take(&mut partition, offset);
            partition.seal();
        }
        let _refused = partition.next_batch().unwrap();
        partition.refused();
        assert!(partition.next_batch().is_none());
        assert_eq!(partition.to_commit(Instant::now()), None);
        assert!(partition.is_settled());
    }
}
