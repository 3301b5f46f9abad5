//! The state of one partition during one assignment. It performs no I/O; its owner does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::fetch::FetchProgress;
use super::growth::Growth;
use super::hold::{Hold, LastFlow};
use crate::batch::limits::{Limits, SealReason};
use crate::batch::{Batch, OpenBatch};
use crate::config;
use crate::dead_letter::breaker::Breaker;
use crate::decode::Origin;
use crate::event::AssignmentId;
use crate::exactly_once::commit::{Commits, PartitionState};
use crate::exactly_once::intent::{Announced, Doubt, MAX_RANGES};
use crate::exactly_once::lease::Lease;
use crate::exactly_once::ledger::{Ledger, OffsetCommit};
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::{Continuation, Start};
use crate::kafka::watermarks::Watermarks;

/// Intake pauses at this many open ranges; not checked while announced ranges are consumed again.
const PAUSE_RANGES: usize = MAX_RANGES / 2;
/// Intake resumes at this many open ranges. The gap avoids frequent pauses, each of which discards fetched records.
const RESUME_RANGES: usize = PAUSE_RANGES / 4;

/// The state of one partition during one assignment.
#[derive(Debug)]
pub struct Partition {
    /// Identifies the assignment.
    pub assignment: AssignmentId,
    /// Provenance of the rows.
    pub origin: Origin,
    /// Cancels the partition's writes when the assignment ends.
    pub cancel: CancellationToken,
    /// Offset that Kafka's client seeks to if it has to.
    pub(super) start: i64,
    /// The next offset to consume.
    pub(super) position: i64,
    /// Everything below this offset is sealed.
    pub(super) sealed_before: i64,
    /// The last offset below which librdkafka had nothing left to deliver; -1 if unknown.
    pub(super) idle_at: i64,
    pub(super) open: Option<OpenBatch>,
    /// Ranges announced earlier and not yet consumed again: they are sealed with the same bounds.
    pub(super) announced: VecDeque<Announced>,
    /// Offsets in the announced ranges that have been dead-lettered, by an earlier owner or before the breaker opened.
    pub(super) dead_letters: BTreeSet<i64>,
    /// Batches through this offset are looked up before they are sent.
    pub(super) lookup_through: Option<i64>,
    pub(super) sealed: VecDeque<Batch>,
    pub(super) is_writing: bool,
    pub(super) growth: Growth,
    /// Whether the current announced range is completed even if memory is short.
    pub(super) may_exceed_budget: bool,
    pub(super) commits: Commits,
    /// Bit set of the [`Hold`]s in effect; intake is paused unless it is 0.
    pub(super) holds: u8,
    /// The breakers for decoding and for writing.
    pub(super) breakers: [Breaker; 2],
    /// Rows of the batch being written that the breaker has counted.
    pub(super) counted: CountedRows,
    /// Why the breaker is open, if it is.
    pub(super) trip_reason: Option<String>,
    /// Which records Kafka has for the partition, and whether they arrive.
    pub(super) fetch: FetchProgress,
    /// The last change that Kafka's client had to apply.
    pub(super) last_flow: LastFlow,
    /// Whether Kafka's client has to seek to `start`, since delivered records may have been discarded.
    pub(super) must_seek: bool,
}

/// Rows of one batch that the breaker has counted, so that none counts twice however often the batch is written.
#[derive(Debug, Default)]
pub(super) struct CountedRows {
    /// Offsets of the refused rows.
    pub(super) refused: BTreeSet<i64>,
    /// Number of other rows that were counted as accepted before they landed.
    pub(super) accepted: u64,
}

impl Partition {
    /// Creates a partition at the start of an assignment; `decoder` is the fingerprint of the decoder in use.
    pub fn new(
        assignment: AssignmentId,
        origin: Origin,
        lease: Lease,
        decoder: u64,
        breaker: &config::Breaker,
        start: &Start,
    ) -> Self {
        let commits = Commits::new(lease, decoder, start.committed, start.intent.as_ref());
        Self {
            assignment,
            origin,
            cancel: CancellationToken::new(),
            start: start.offset,
            position: start.offset,
            sealed_before: start.offset,
            idle_at: -1,
            open: None,
            announced: commits.ledger.announced().collect(),
            dead_letters: BTreeSet::new(),
            lookup_through: None,
            sealed: VecDeque::new(),
            is_writing: false,
            growth: Growth::default(),
            may_exceed_budget: false,
            commits,
            holds: Hold::Opening as u8,
            breakers: [Breaker::new(breaker), Breaker::new(breaker)],
            counted: CountedRows::default(),
            trip_reason: None,
            fetch: FetchProgress::default(),
            last_flow: LastFlow::default(),
            must_seek: false,
        }
    }

    /// Begins at the offsets that Kafka has returned; `decoder` is the fingerprint of the decoder in use.
    pub fn begin(&mut self, decoder: u64, start: &Start, ends: Watermarks) {
        self.commits.ledger = Ledger::new(decoder, start.committed, start.intent.as_ref());
        self.announced = self.commits.ledger.announced().collect();
        (self.start, self.position, self.sealed_before) = (start.offset, start.offset, start.offset);
        self.reset_fetch(ends);
    }

    /// Continues as decided after the table was queried; `dead_letters` are the dead-lettered offsets of announced ranges, in
    /// order. Returns why the partition stops, if it does.
    pub fn finish_opening(&mut self, continuation: &Continuation, dead_letters: Vec<i64>) -> Option<String> {
        self.must_seek = true;
        self.dead_letters = dead_letters.into_iter().collect();
        // A failed attempt of the query set this hold.
        self.release(Hold::Store);
        match continuation {
            Continuation::Proceed => self.release(Hold::Opening),
            Continuation::Check { through } => {
                self.lookup_through = Some(*through);
                self.release(Hold::Opening);
            }
            Continuation::Stop(why) => {
                self.stop();
                return Some(why.clone());
            }
        }
        None
    }

    /// Whether delivered records are discarded: the partition will continue at another offset, or not at all.
    pub fn discards_input(&self) -> bool {
        self.must_seek || [Hold::Stopped, Hold::Opening, Hold::Breaker].iter().any(|why| self.is_held(*why))
    }

    /// The group's committed offset that this worker last read or committed.
    pub fn committed(&self) -> Option<i64> {
        self.commits.ledger.committed()
    }

    /// Number of ranges, durable ones included, starting at the first range that is not durable.
    pub fn open_ranges(&self) -> usize {
        self.commits.ledger.open_ranges()
    }

    /// Returns the open batch; `open` creates one if there is none.
    pub fn open_batch(&mut self, open: impl FnOnce() -> OpenBatch) -> &mut OpenBatch {
        self.open.get_or_insert_with(open)
    }

    /// Whether the record at `offset` has already been dead-lettered.
    pub fn is_dead_letter(&self, offset: i64) -> bool {
        self.dead_letters.contains(&offset)
    }

    /// Records that the record at `offset` was consumed.
    pub fn record_consumed(&mut self, offset: i64) {
        self.position = offset + 1;
    }

    /// The next offset to consume; offsets below it that were never delivered have no record.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Records, unless intake is paused, that librdkafka has nothing left to deliver below `offset`. Returns whether the previous
    /// report was the same.
    pub fn record_idle_at(&mut self, offset: i64) -> bool {
        self.holds == 0 && !self.must_seek && std::mem::replace(&mut self.idle_at, offset) == offset
    }

    /// Returns why the open batch has to be sealed now, if it has to.
    pub fn seal_reason(&self, limits: &Limits, now: Instant) -> Option<SealReason> {
        let open = self.open.as_ref()?;
        if let Some(announced) = self.announced.front() {
            return (open.last() == Some(announced.range.last)).then_some(SealReason::Announced);
        }
        if self.lookup_through.is_some() && open.last() == self.lookup_through {
            return Some(SealReason::LookupEnd);
        }
        if self.is_busy() {
            open.seal_reason_in_backlog(limits, &self.growth.allowance(limits))
        } else {
            open.seal_reason(limits, now)
        }
    }

    /// Whether the next announced range ends before `offset`, even if some of its records are no longer in the log.
    pub fn ends_before(&self, offset: i64) -> bool {
        self.announced.front().is_some_and(|announced| announced.range.last < offset)
    }

    /// Whether ranges that were announced earlier are still being consumed again.
    pub fn is_resealing(&self) -> bool {
        !self.announced.is_empty()
    }

    /// Bytes in the open batch.
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenBatch::bytes)
    }

    /// Whether a sealed batch waits to be written.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Bytes of sealed batches that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.sealed.iter().map(Batch::bytes).sum()
    }

    /// Seals the open batch, if there is one, and returns it. An announced range is sealed with the same bounds or not at all.
    pub fn seal(&mut self, seal_reason: SealReason) -> Option<&Batch> {
        if seal_reason != SealReason::Announced && self.is_resealing() {
            return None;
        }
        self.sealed_before = self.position;
        self.may_exceed_budget = false;
        let announced = self.announced.pop_front();
        let batch = self.open.take().and_then(|open| open.seal(announced.map(|announced| announced.range)));
        let Some(mut batch) = batch else {
            if let Some(Announced { range, .. }) = announced {
                warn!(first = range.first, last = range.last, "no record of an announced range is left in the log");
                self.commits.ledger.mark_durable(range);
            }
            return None;
        };
        if let Some(announced) = announced {
            let needs_lookup = self.lookup_through.is_some_and(|through| batch.range.first <= through);
            let doubt = if needs_lookup { announced.doubt.max(Doubt::SendMissing) } else { announced.doubt };
            batch.doubt = if announced.digest == batch.digest { doubt } else { Doubt::AllOrNothing };
            batch.may_be_incomplete = true;
        } else if let Some(through) = self.lookup_through.filter(|through| batch.range.first <= *through) {
            batch.doubt = Doubt::SendMissing;
            batch.may_be_incomplete = through <= batch.range.last;
        }
        self.commits.ledger.add_sealed(batch.announcement());
        self.sealed.push_back(batch);
        // Ranges announced earlier are already in the intent, and have to be consumed before they can be written.
        if self.commits.ledger.open_ranges() >= PAUSE_RANGES && !self.is_resealing() {
            self.hold(Hold::Ranges);
        }
        self.sealed.back()
    }

    /// Lets the partition exceed the memory budget until the current announced range is complete.
    pub fn exceed_budget(&mut self) {
        self.may_exceed_budget = true;
        self.release(Hold::Memory);
    }

    /// Whether the partition may exceed the memory budget.
    pub fn may_exceed_budget(&self) -> bool {
        self.may_exceed_budget
    }

    /// Returns the next batch to write. Batches are written one at a time, in the order of their offsets.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.is_writing
            || self.is_held(Hold::Stopped)
            || !self.commits.ledger.is_announced(self.sealed.front()?.range)
        {
            return None;
        }
        self.is_writing = true;
        let batch = self.sealed.pop_front()?;
        self.growth.begin(&batch, Instant::now());
        Some(batch)
    }

    /// No later than when a range was first sent in a commit, in seconds since 1970.
    pub fn announced_at(&self, range: Range) -> Option<u64> {
        self.commits.ledger.announced_at(range)
    }

    /// Records that a batch is durable.
    pub fn record_written(&mut self, range: Range) {
        self.is_writing = false;
        self.growth.end(Instant::now());
        self.commits.ledger.mark_durable(range);
        self.dead_letters = self.dead_letters.split_off(&(range.last + 1));
        self.release(Hold::Store);
        if self.commits.ledger.open_ranges() <= RESUME_RANGES {
            self.release(Hold::Ranges);
        }
    }

    /// Stops the partition until an operator has decided and restarted the worker. Batches in memory are dropped, since Kafka
    /// still has their records.
    pub fn stop(&mut self) {
        self.is_writing = false;
        self.hold(Hold::Stopped);
        self.drop_unwritten_batches();
    }

    /// Drops every batch that is not being written.
    pub fn drop_unwritten_batches(&mut self) {
        self.open = None;
        self.may_exceed_budget = false;
        self.sealed.clear();
    }

    /// Drops the open batch at shutdown if it could not be sealed; its records are consumed again later.
    pub fn drop_open_batch(&mut self) {
        self.open = None;
    }

    /// Whether a batch is being written.
    pub fn is_writing(&self) -> bool {
        self.is_writing
    }

    /// Whether an offset is being committed.
    pub fn is_committing(&self) -> bool {
        self.commits.is_in_flight()
    }

    /// Whether batches are waiting or being written.
    pub fn is_busy(&self) -> bool {
        self.is_writing || !self.sealed.is_empty()
    }

    /// Whether nothing remains to be written or committed, or the partition is stopped and no commit is in flight.
    pub fn is_settled(&self) -> bool {
        let is_finished = self.open.is_none() && !self.is_busy() && self.commits.ledger.is_settled();
        is_finished || (self.is_held(Hold::Stopped) && !self.is_committing())
    }

    /// Returns the commit to send now, if any; `unix_seconds` is the wall clock in seconds since 1970.
    pub fn next_commit(&mut self, now: Instant, unix_seconds: u64) -> Option<OffsetCommit> {
        if self.is_held(Hold::Stopped) {
            return None;
        }
        let state = PartitionState { is_busy: self.is_busy(), is_draining: self.is_held(Hold::Drain) };
        self.commits.next_commit(now, unix_seconds, state)
    }

    /// Handles Kafka's response to the commit in flight; returns how long it took.
    pub fn handle_commit_response(&mut self, is_acknowledged: bool, now: Instant) -> Option<Duration> {
        self.commits.handle_response(is_acknowledged, now)
    }

    /// The lease on the partition.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.commits.lease
    }

    /// Returns the final commit of this assignment; `None` if there is nothing to commit, a commit is still in flight, or the
    /// partition is stopped.
    pub fn final_commit(&self, unix_seconds: u64) -> Option<OffsetCommit> {
        if self.is_committing() || self.is_held(Hold::Stopped) {
            None
        } else {
            self.commits.ledger.final_commit(unix_seconds)
        }
    }

    /// The offset below which every record is durable, if known.
    pub fn watermark(&self) -> Option<i64> {
        self.commits.ledger.watermark()
    }
}
