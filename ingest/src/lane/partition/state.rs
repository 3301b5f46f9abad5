//! The state of one partition during one assignment. It performs no I/O; its owner does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::growth::Growth;
use super::hold::{Hold, LastFlow};
use super::supply::Supply;
use crate::batch::limits::{Limits, SealReason};
use crate::batch::{Batch, OpenBatch};
use crate::config;
use crate::dead_letter::breaker::Breaker;
use crate::decode::Origin;
use crate::event::Assigned;
use crate::exactly_once::commit::{Commits, Work};
use crate::exactly_once::intent::{Announced, Doubt, MAX_RANGES};
use crate::exactly_once::lease::Lease;
use crate::exactly_once::ledger::{Ledger, OffsetCommit};
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::{Continuation, Start};
use crate::kafka::watermarks::Watermarks;

/// Ranges that may wait before intake pauses, in addition to those of an earlier owner.
const PAUSE_RANGES: usize = MAX_RANGES / 2;
/// Ranges that may still wait when intake resumes. The gap avoids frequent pauses, each of which discards fetched records.
const RESUME_RANGES: usize = PAUSE_RANGES / 4;

/// The state of one partition during one assignment.
#[derive(Debug)]
pub struct Partition {
    /// The assignment.
    pub owner: Assigned,
    /// Provenance of its rows.
    pub origin: Origin,
    /// Cancels its writes when the assignment ends.
    pub cancel: CancellationToken,
    /// Offset that Kafka's client seeks to if it has to.
    pub(super) start: i64,
    /// The next offset to consume.
    pub(super) position: i64,
    /// Everything below it is sealed.
    pub(super) sealed_to: i64,
    /// Offset below which librdkafka last had nothing left to deliver; -1 if unknown.
    pub(super) idle_at: i64,
    pub(super) open: Option<OpenBatch>,
    /// Ranges announced earlier and not yet consumed again: they are sealed with the same edges.
    pub(super) announced: VecDeque<Announced>,
    /// Offsets in these ranges that have been dead-lettered, by an earlier owner or before the breaker opened.
    pub(super) dead_letters: BTreeSet<i64>,
    /// Batches up to here are looked up before they are sent.
    pub(super) check_until: Option<i64>,
    pub(super) sealed: VecDeque<Batch>,
    pub(super) is_writing: bool,
    pub(super) growth: Growth,
    /// Whether it completes the current announced range even if memory is short.
    pub(super) may_exceed_budget: bool,
    pub(super) commits: Commits,
    pub(super) holds: u8,
    /// The breakers for decoding and for writing.
    pub(super) breakers: [Breaker; 2],
    /// Rows of the batch that is being written, as far as the breaker has counted them.
    pub(super) counted: CountedRows,
    /// Why the breaker is open, if it is.
    pub(super) trip_reason: Option<String>,
    /// Which records Kafka has for it, and whether they arrive.
    pub(super) supply: Supply,
    /// The last change that Kafka's client was given.
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
    pub(super) passed: u64,
}

impl Partition {
    /// A partition at the start of an assignment; `decoder` is the fingerprint of the decoder in use.
    pub fn new(
        owner: Assigned,
        origin: Origin,
        lease: Lease,
        decoder: u64,
        breaker: &config::Breaker,
        start: &Start,
    ) -> Self {
        let commits = Commits::new(lease, decoder, start.committed, start.intent.as_ref());
        Self {
            owner,
            origin,
            cancel: CancellationToken::new(),
            start: start.offset,
            position: start.offset,
            sealed_to: start.offset,
            idle_at: -1,
            open: None,
            announced: commits.ledger.announced().collect(),
            dead_letters: BTreeSet::new(),
            check_until: None,
            sealed: VecDeque::new(),
            is_writing: false,
            growth: Growth::default(),
            may_exceed_budget: false,
            commits,
            holds: Hold::Opening as u8,
            breakers: [Breaker::new(breaker), Breaker::new(breaker)],
            counted: CountedRows::default(),
            trip_reason: None,
            supply: Supply::default(),
            last_flow: LastFlow::default(),
            must_seek: false,
        }
    }

    /// Begins at the offsets that Kafka has returned; `decoder` is the fingerprint of the decoder in use.
    pub fn begin(&mut self, decoder: u64, start: &Start, ends: Watermarks) {
        self.commits.ledger = Ledger::new(decoder, start.committed, start.intent.as_ref());
        self.announced = self.commits.ledger.announced().collect();
        (self.start, self.position, self.sealed_to) = (start.offset, start.offset, start.offset);
        self.reset_supply(ends);
    }

    /// Opens the partition with what the table holds, and the dead-lettered offsets of announced ranges (in order). Returns why
    /// the partition stops, if it does.
    pub fn opened(&mut self, continuation: &Continuation, dead_letters: Vec<i64>) -> Option<String> {
        self.must_seek = true;
        self.dead_letters = dead_letters.into_iter().collect();
        // The query may have needed several attempts.
        self.release(Hold::Store);
        match continuation {
            Continuation::Proceed => self.release(Hold::Opening),
            Continuation::Check { until } => {
                self.check_until = Some(*until);
                self.release(Hold::Opening);
            }
            Continuation::Stop(why) => {
                self.stop();
                return Some(why.clone());
            }
        }
        None
    }

    /// Whether delivered records are discarded: it will continue at another offset, or not at all.
    pub fn discards_input(&self) -> bool {
        self.must_seek || [Hold::Stopped, Hold::Opening, Hold::Breaker].iter().any(|why| self.is_held(*why))
    }

    /// The group's committed offset, as far as this worker knows.
    pub fn committed(&self) -> Option<i64> {
        self.commits.ledger.committed()
    }

    /// Ranges that are sealed and not committed.
    pub fn open_ranges(&self) -> usize {
        self.commits.ledger.open_ranges()
    }

    /// The open batch; `open` creates one if there is none.
    pub fn open_with(&mut self, open: impl FnOnce() -> OpenBatch) -> &mut OpenBatch {
        self.open.get_or_insert_with(open)
    }

    /// Whether the record at `offset` has already been dead-lettered.
    pub fn is_dead_letter(&self, offset: i64) -> bool {
        self.dead_letters.contains(&offset)
    }

    /// The record at `offset` was consumed.
    pub fn consumed(&mut self, offset: i64) {
        self.position = offset + 1;
    }

    /// The next offset to consume; offsets below it that were never delivered have no record.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether librdkafka has reported twice in a row that it has nothing left to deliver below `offset`.
    pub fn is_idle_at(&mut self, offset: i64) -> bool {
        self.holds == 0 && !self.must_seek && std::mem::replace(&mut self.idle_at, offset) == offset
    }

    /// Returns why the open batch has to be sealed now, if it has to.
    pub fn seal_reason(&self, limits: &Limits, now: Instant) -> Option<SealReason> {
        let open = self.open.as_ref()?;
        if let Some(announced) = self.announced.front() {
            return (open.last() == Some(announced.range.last)).then_some(SealReason::Announced);
        }
        if self.check_until.is_some() && open.last() == self.check_until {
            return Some(SealReason::Checked);
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

    /// Whether it is still consuming ranges that were announced earlier.
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

    /// Seals the open batch, if there is one, and returns it. An announced range is sealed with the same edges or not at all.
    pub fn seal(&mut self, seal_reason: SealReason) -> Option<&Batch> {
        if seal_reason != SealReason::Announced && self.is_resealing() {
            return None;
        }
        self.sealed_to = self.position;
        self.may_exceed_budget = false;
        let announced = self.announced.pop_front();
        let batch = self.open.take().and_then(|open| open.seal(announced.map(|announced| announced.range)));
        let Some(mut batch) = batch else {
            if let Some(Announced { range, .. }) = announced {
                warn!(first = range.first, last = range.last, "no record of an announced range is left in the log");
                self.commits.ledger.done(range);
            }
            return None;
        };
        if let Some(announced) = announced {
            let is_checked = self.check_until.is_some_and(|until| batch.range.first <= until);
            let doubt = if is_checked { announced.doubt.max(Doubt::SendMissing) } else { announced.doubt };
            batch.doubt = if announced.digest == batch.digest { doubt } else { Doubt::AllOrNothing };
            batch.may_be_incomplete = true;
        } else if let Some(until) = self.check_until.filter(|until| batch.range.first <= *until) {
            batch.doubt = Doubt::SendMissing;
            batch.may_be_incomplete = until <= batch.range.last;
        }
        self.commits.ledger.sealed(batch.announcement());
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

    /// Whether it may exceed the memory budget.
    pub fn may_exceed_budget(&self) -> bool {
        self.may_exceed_budget
    }

    /// The next batch to write; one at a time, so that the batches in flight are one contiguous range.
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

    /// When a range was announced, in seconds since 1970.
    pub fn announced_at(&self, range: Range) -> Option<u64> {
        self.commits.ledger.announced_at(range)
    }

    /// A batch is durable.
    pub fn written(&mut self, range: Range) {
        self.is_writing = false;
        self.growth.end(Instant::now());
        self.commits.ledger.done(range);
        self.dead_letters = self.dead_letters.split_off(&(range.last + 1));
        self.release(Hold::Store);
        if self.commits.ledger.open_ranges() <= RESUME_RANGES {
            self.release(Hold::Ranges);
        }
    }

    /// Stops until an operator has decided. Batches in memory are dropped, since Kafka still has their records.
    pub fn stop(&mut self) {
        self.is_writing = false;
        self.hold(Hold::Stopped);
        self.abandon();
    }

    /// Drops every batch that is not being written.
    pub fn abandon(&mut self) {
        self.open = None;
        self.may_exceed_budget = false;
        self.sealed.clear();
    }

    /// Drops the open batch, which could not be sealed, at shutdown; its records are consumed again later.
    pub fn close(&mut self) {
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

    /// Whether batches wait or are being written.
    pub fn is_busy(&self) -> bool {
        self.is_writing || !self.sealed.is_empty()
    }

    /// Whether nothing is left to write or to commit.
    pub fn is_settled(&self) -> bool {
        let is_done = self.open.is_none() && !self.is_busy() && self.commits.ledger.is_settled();
        is_done || (self.is_held(Hold::Stopped) && !self.is_committing())
    }

    /// What to commit now, if anything; `unix` is the wall clock in seconds since 1970.
    pub fn to_commit(&mut self, now: Instant, unix: u64) -> Option<OffsetCommit> {
        if self.is_held(Hold::Stopped) {
            return None;
        }
        let work = Work { is_busy: self.is_busy(), is_draining: self.is_held(Hold::Drain) };
        self.commits.due(now, unix, work)
    }

    /// Handles Kafka's response to the commit in flight; returns how long it took.
    pub fn commit_answered(&mut self, is_acknowledged: bool, now: Instant) -> Option<Duration> {
        self.commits.answered(is_acknowledged, now)
    }

    /// The lease on the partition.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.commits.lease
    }

    /// The last commit of this assignment, unless one is still in flight.
    pub fn last_commit(&self, unix: u64) -> Option<OffsetCommit> {
        if self.is_committing() || self.is_held(Hold::Stopped) { None } else { self.commits.ledger.last_commit(unix) }
    }

    /// The offset below which every record is durable, if known.
    pub fn watermark(&self) -> Option<i64> {
        self.commits.ledger.watermark()
    }
}
