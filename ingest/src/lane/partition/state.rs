//! The state of one partition during one assignment. Whoever owns it does the I/O.

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

/// Ranges that may wait before intake pauses; those that an earlier owner left come on top of them.
const WAITING_RANGES: usize = MAX_RANGES / 2;
/// Ranges that may still wait when it goes on: pausing throws away what was fetched, so it is not done for each of them.
const FEW_RANGES: usize = WAITING_RANGES / 4;

/// The state of one partition during one assignment.
#[derive(Debug)]
pub struct Partition {
    /// Which assignment this is.
    pub owner: Assigned,
    /// Provenance of its rows.
    pub origin: Origin,
    /// Ends its writes when the assignment ends.
    pub cancel: CancellationToken,
    /// Where it goes on when Kafka's client has to be sent back.
    pub(super) start: i64,
    /// The next offset to take in.
    pub(super) position: i64,
    /// Everything below it is sealed.
    pub(super) sealed_to: i64,
    /// Where librdkafka last said that it has nothing left to deliver.
    pub(super) idle_at: i64,
    pub(super) open: Option<OpenBatch>,
    /// Ranges announced before this assignment and not yet taken in again: they are cut as they were.
    pub(super) announced: VecDeque<Announced>,
    /// Offsets in them that have been dead-lettered, by an earlier owner or before the breaker opened.
    pub(super) dead_letters: BTreeSet<i64>,
    /// Batches up to here are looked up before they are sent.
    pub(super) check_until: Option<i64>,
    pub(super) sealed: VecDeque<Batch>,
    pub(super) is_writing: bool,
    pub(super) growth: Growth,
    /// Whether it takes the announced range in that it is at, whatever memory that needs.
    pub(super) may_exceed_budget: bool,
    pub(super) commits: Commits,
    pub(super) holds: u8,
    /// Judges what was decoded, and what ClickHouse refuses.
    pub(super) breakers: [Breaker; 2],
    /// Rows of the batch that is being written, so far as they were judged.
    pub(super) counted: CountedRows,
    /// Why the breaker is open, if it is.
    pub(super) broken: Option<String>,
    /// What Kafka has for it.
    pub(super) supply: Supply,
    /// What Kafka's client was last told.
    pub(super) told: LastFlow,
    /// Whether it has to be sent back to its start, since records may have come that were not taken in.
    pub(super) must_seek: bool,
}

/// Rows of one batch that the breaker has seen, so that none counts twice however often the batch is written.
#[derive(Debug, Default)]
pub(super) struct CountedRows {
    /// Offsets of those that ClickHouse refuses.
    pub(super) refused: BTreeSet<i64>,
    /// How many others were counted as fine before they landed.
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
            broken: None,
            supply: Supply::default(),
            told: LastFlow::default(),
            must_seek: false,
        }
    }

    /// Kafka has said where it begins; `decoder` is the fingerprint of the decoder in use.
    pub fn begin(&mut self, decoder: u64, start: &Start, ends: Watermarks) {
        self.commits.ledger = Ledger::new(decoder, start.committed, start.intent.as_ref());
        self.announced = self.commits.ledger.announced().collect();
        (self.start, self.position, self.sealed_to) = (start.offset, start.offset, start.offset);
        self.begins_with(ends);
    }

    /// The table has said what it holds, and the dead-letter topic which offsets of announced ranges (in order). Gives back
    /// why the partition stops, if it does.
    pub fn opened(&mut self, continuation: &Continuation, dead_letters: Vec<i64>) -> Option<String> {
        self.must_seek = true;
        self.dead_letters = dead_letters.into_iter().collect();
        // It may have taken the table several attempts to answer.
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

    /// Whether records that come now are left out: it goes on elsewhere, or not at all.
    pub fn discards_input(&self) -> bool {
        self.must_seek || [Hold::Stopped, Hold::Opening, Hold::Breaker].iter().any(|why| self.is_held(*why))
    }

    /// The group's offset, as far as this worker knows.
    pub fn committed(&self) -> Option<i64> {
        self.commits.ledger.committed()
    }

    /// Ranges that are sealed and not committed.
    pub fn open_ranges(&self) -> usize {
        self.commits.ledger.open_ranges()
    }

    /// The batch that takes records in; `open` makes one if there is none.
    pub fn open_with(&mut self, open: impl FnOnce() -> OpenBatch) -> &mut OpenBatch {
        self.open.get_or_insert_with(open)
    }

    /// Whether the record at `offset` has been dead-lettered before.
    pub fn is_dead_letter(&self, offset: i64) -> bool {
        self.dead_letters.contains(&offset)
    }

    /// The record at `offset` was taken in.
    pub fn consumed(&mut self, offset: i64) {
        self.position = offset + 1;
    }

    /// The next offset to take in; records below it that never came are not in the log.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether librdkafka says for the second time running that it has nothing left to deliver below `offset`.
    pub fn is_idle_at(&mut self, offset: i64) -> bool {
        self.holds == 0 && !self.must_seek && std::mem::replace(&mut self.idle_at, offset) == offset
    }

    /// Why the open batch has to be sealed now, if it has to.
    pub fn seal_reason(&self, limits: &Limits, now: Instant) -> Option<SealReason> {
        let open = self.open.as_ref()?;
        if let Some(announced) = self.announced.front() {
            return (open.last() == Some(announced.range.last)).then_some(SealReason::Announced);
        }
        if self.check_until.is_some() && open.last() == self.check_until {
            return Some(SealReason::Checked);
        }
        if self.is_busy() {
            open.seal_reason_in_backlog(limits, &self.growth.most(limits))
        } else {
            open.seal_reason(limits, now)
        }
    }

    /// Whether the next announced range ends before `offset`, with whatever of it is still in the log.
    pub fn ends_before(&self, offset: i64) -> bool {
        self.announced.front().is_some_and(|announced| announced.range.last < offset)
    }

    /// Whether it is still taking in what was announced before.
    pub fn is_resealing(&self) -> bool {
        !self.announced.is_empty()
    }

    /// Bytes in the open batch.
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenBatch::bytes)
    }

    /// Whether a batch is sealed and waits to be written.
    pub fn has_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Bytes of rows that are sealed and wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.sealed.iter().map(Batch::bytes).sum()
    }

    /// Seals the open batch, if there is one, and shows it. An announced range is sealed as it was or not at all.
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
                warn!(
                    first = range.first,
                    last = range.last,
                    "nothing is left in the log of a range that was announced"
                );
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
        // What was announced before is in the intent already, and has to be taken in before anything of it is written.
        if self.commits.ledger.open_ranges() >= WAITING_RANGES && !self.is_resealing() {
            self.hold(Hold::Ranges);
        }
        self.sealed.back()
    }

    /// Memory is short and this has to go on all the same, until the announced range that it is at has been taken in.
    pub fn exceed_budget(&mut self) {
        self.may_exceed_budget = true;
        self.release(Hold::Memory);
    }

    /// Whether it goes on although memory is short.
    pub fn may_exceed_budget(&self) -> bool {
        self.may_exceed_budget
    }

    /// The next batch to write; one at a time, so that what is in flight stays one contiguous range.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.is_writing
            || self.is_held(Hold::Stopped)
            || !self.commits.ledger.is_announced(self.sealed.front()?.range)
        {
            return None;
        }
        self.is_writing = true;
        let batch = self.sealed.pop_front()?;
        self.growth.began(&batch, Instant::now());
        Some(batch)
    }

    /// When a range was announced, seconds since 1970.
    pub fn announced_at(&self, range: Range) -> Option<u64> {
        self.commits.ledger.announced_at(range)
    }

    /// A batch is durable.
    pub fn written(&mut self, range: Range) {
        self.is_writing = false;
        self.growth.ended(Instant::now());
        self.commits.ledger.done(range);
        self.dead_letters = self.dead_letters.split_off(&(range.last + 1));
        self.release(Hold::Store);
        if self.commits.ledger.open_ranges() <= FEW_RANGES {
            self.release(Hold::Ranges);
        }
    }

    /// Only an operator can go on: what is held in memory is let go, since Kafka keeps it all.
    pub fn stop(&mut self) {
        self.is_writing = false;
        self.hold(Hold::Stopped);
        self.abandon();
    }

    /// Lets go of everything that is not being written.
    pub fn abandon(&mut self) {
        self.open = None;
        self.may_exceed_budget = false;
        self.sealed.clear();
    }

    /// Takes nothing more in for good: what is open and could not be sealed stays with Kafka.
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

    /// Kafka has answered the commit in flight; returns how long that took.
    pub fn commit_answered(&mut self, is_acknowledged: bool, now: Instant) -> Option<Duration> {
        self.commits.answered(is_acknowledged, now)
    }

    /// How long it may be assumed to be ours.
    pub fn lease(&self) -> &Arc<Lease> {
        &self.commits.lease
    }

    /// The last commit of this assignment, unless one is still on its way.
    pub fn last_commit(&self, unix: u64) -> Option<OffsetCommit> {
        if self.is_committing() || self.is_held(Hold::Stopped) { None } else { self.commits.ledger.last_commit(unix) }
    }

    /// The offset below which nothing is missing, as far as that is known.
    pub fn watermark(&self) -> Option<i64> {
        self.commits.ledger.watermark()
    }
}
