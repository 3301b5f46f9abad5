//! One assigned topic partition from its opening to its watermark.
//! Decoded and rejected records, the clock and the writer's events go in; sealed batches and commits come out. It holds
//! no connection; whoever owns it does the I/O. It never hands out a batch that Kafka does not know of.

mod breaking;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::batch::{Batch, Cut, Limits, OpenBatch};
use crate::breaker::Breaker;
use crate::commit::{Due, Ledger, Range};
use crate::config;
use crate::decode::Origin;
use crate::intent::{Announced, Doubt, Intent, MOST_RANGES};
use crate::lease::Lease;
use crate::takeover::Answer;
use crate::write::Assigned;

/// Why a partition takes nothing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The budget is used up.
    Memory = 1,
    /// Its store does not answer, or an operator is needed.
    Store = 2,
    /// Only an operator's decision goes on; nothing more is taken in, written or committed until a restart.
    Stopped = 4,
    /// The worker is shutting down.
    Drain = 8,
    /// Its table has not yet said what it holds.
    Opening = 16,
    /// As many ranges wait as an intent may hold.
    Ranges = 32,
    /// Its records are nothing but poison; an operator has to look at them.
    Breaker = 64,
    /// An operator wants it so.
    Operator = 128,
}

impl Hold {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Memory,
        Self::Store,
        Self::Stopped,
        Self::Drain,
        Self::Opening,
        Self::Ranges,
        Self::Breaker,
        Self::Operator,
    ];

    /// The reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory is short",
            Self::Store => "its store does not take its batches",
            Self::Stopped => "stopped until an operator has decided and it is restarted",
            Self::Drain => "shutting down",
            Self::Opening => "asking its table what it holds",
            Self::Ranges => "as many batches wait as may",
            Self::Breaker => "the breaker is open",
            Self::Operator => "paused by an operator",
        }
    }
}

/// What Kafka's client has to be told about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Deliver nothing more.
    Pause,
    /// Go on.
    Resume,
    /// Go on from this offset, whatever was delivered meanwhile.
    ResumeAt(i64),
}

/// Where an assignment begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// First offset to consume.
    pub offset: i64,
    /// What the group had committed.
    pub committed: Option<i64>,
    /// What was announced beside it, if what stands there is ours.
    pub intent: Option<Intent>,
}

impl Start {
    /// The highest offset that the table can hold by now, if our intent says so: nothing is sent before it is announced.
    pub fn announced_to(&self) -> Option<i64> {
        let ranges = &self.intent.as_ref()?.ranges;
        Some(ranges.last().map_or(self.offset - 1, |announced| announced.range.last))
    }
}

/// How long after a failed commit the next one is tried.
const COMMIT_WAIT: Duration = Duration::from_secs(1);
/// How long after a failed pause or resume the next one is tried.
const FLOW_WAIT: Duration = Duration::from_millis(500);
/// How long an offset may wait for the next announcement to carry it along.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Ranges that may wait before intake pauses; the rest of an intent is kept for pieces.
const WAITING_RANGES: usize = MOST_RANGES / 2;

/// The state of one partition during one assignment.
#[derive(Debug)]
pub struct Partition {
    /// Which assignment this is.
    pub of: Assigned,
    /// Provenance of its rows.
    pub origin: Origin,
    /// Ends its writes when the assignment ends.
    pub cancel: CancellationToken,
    /// How long it may be trusted to be ours.
    pub lease: Arc<Lease>,
    /// Where it goes on when Kafka's client has to be sent back.
    start: i64,
    /// The next offset to take in.
    position: i64,
    /// Everything below it is sealed.
    sealed_to: i64,
    /// Where librdkafka last said that it has nothing left to deliver.
    idle_at: i64,
    open: Option<OpenBatch>,
    /// Ranges announced before this assignment and not yet taken in again: they are cut as they were.
    announced: VecDeque<Announced>,
    /// Batches up to here are looked up before they are sent.
    check_until: Option<i64>,
    sealed: VecDeque<Batch>,
    is_writing: bool,
    ledger: Ledger,
    commit_sent: Option<Instant>,
    last_commit: Option<Instant>,
    commit_after: Option<Instant>,
    holds: u8,
    /// Judges what was decoded, and what ClickHouse refuses.
    breakers: [Breaker; 2],
    /// Why the breaker is open, if it is.
    broken: Option<String>,
    /// One past the last offset of its log, as far as that was heard of.
    end: Option<i64>,
    /// What Kafka's client was last told.
    is_paused: bool,
    /// When it may be told again after it failed.
    flow_after: Option<Instant>,
    /// Whether it has to be sent back to its start, since records may have come that were not taken in.
    must_seek: bool,
}

impl Partition {
    /// A partition at the start of an assignment; `decoder` is the fingerprint of the decoder in use.
    pub fn new(
        of: Assigned,
        origin: Origin,
        lease: Lease,
        decoder: u64,
        breaker: &config::Breaker,
        start: &Start,
    ) -> Self {
        let ledger = Ledger::new(decoder, start.committed, start.intent.as_ref());
        Self {
            of,
            origin,
            cancel: CancellationToken::new(),
            lease: Arc::new(lease),
            start: start.offset,
            position: start.offset,
            sealed_to: start.offset,
            idle_at: -1,
            open: None,
            announced: ledger.announced().collect(),
            check_until: None,
            sealed: VecDeque::new(),
            is_writing: false,
            ledger,
            commit_sent: None,
            last_commit: None,
            commit_after: None,
            holds: Hold::Opening as u8,
            breakers: [Breaker::new(breaker), Breaker::new(breaker)],
            broken: None,
            end: None,
            is_paused: false,
            flow_after: None,
            must_seek: false,
        }
    }

    /// The table has said what it holds. Gives back why the partition stops, if it does.
    pub fn opened(&mut self, answer: &Answer) -> Option<String> {
        self.must_seek = true;
        // It may have taken the table several attempts to answer.
        self.release(Hold::Store);
        match answer {
            Answer::GoOn => self.release(Hold::Opening),
            Answer::Check { until } => {
                self.check_until = Some(*until);
                self.release(Hold::Opening);
            }
            Answer::Stop(why) => {
                self.stop();
                return Some(why.clone());
            }
        }
        None
    }

    /// Whether records that come now are left out: it goes on elsewhere, or not at all.
    pub fn is_deaf(&self) -> bool {
        self.must_seek || [Hold::Stopped, Hold::Opening, Hold::Breaker].iter().any(|why| self.is_held(*why))
    }

    /// The end of its log.
    pub fn heard_of_end(&mut self, end: i64) {
        self.end = Some(end);
    }

    /// One past the last offset of its log, as far as that was heard of.
    pub fn end(&self) -> Option<i64> {
        self.end
    }

    /// The group's offset, as far as this worker knows.
    pub fn committed(&self) -> Option<i64> {
        self.ledger.committed()
    }

    /// Ranges that are sealed and not committed.
    pub fn open_ranges(&self) -> usize {
        self.ledger.open_ranges()
    }

    /// Why nothing is taken in.
    pub fn holds(&self) -> impl Iterator<Item = Hold> + '_ {
        Hold::ALL.into_iter().filter(|why| self.is_held(*why))
    }

    /// The batch that takes records in; `open` makes one if there is none.
    pub fn open_with(&mut self, open: impl FnOnce() -> OpenBatch) -> &mut OpenBatch {
        self.open.get_or_insert_with(open)
    }

    /// The record at `offset` was taken in.
    pub fn took(&mut self, offset: i64) {
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
    pub fn cut(&self, limits: &Limits, now: Instant) -> Option<Cut> {
        let open = self.open.as_ref()?;
        if let Some(announced) = self.announced.front() {
            return (open.last() == Some(announced.range.last)).then_some(Cut::Announced);
        }
        if self.check_until.is_some() && open.last() == self.check_until {
            return Some(Cut::Checked);
        }
        open.cut(limits, now)
    }

    /// Whether the next announced range ends before `offset`, with whatever of it is still in the log.
    pub fn ends_before(&self, offset: i64) -> bool {
        self.announced.front().is_some_and(|announced| announced.range.last < offset)
    }

    /// Whether it is still taking in what was announced before.
    pub fn is_recutting(&self) -> bool {
        !self.announced.is_empty()
    }

    /// Bytes in the open batch.
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenBatch::bytes)
    }

    /// Bytes of rows that are sealed and wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.sealed.iter().flat_map(|batch| &batch.parts).map(|part| part.body.len()).sum()
    }

    /// Seals the open batch, if there is one, and shows it. An announced range is sealed as it was or not at all.
    pub fn seal(&mut self, cut: Cut) -> Option<&Batch> {
        if cut != Cut::Announced && self.is_recutting() {
            return None;
        }
        self.sealed_to = self.position;
        let announced = self.announced.pop_front();
        let batch = self.open.take().and_then(|open| open.seal(announced.map(|announced| announced.range)));
        let Some(mut batch) = batch else {
            if let Some(Announced { range, .. }) = announced {
                warn!(
                    first = range.first,
                    last = range.last,
                    "nothing is left in the log of a range that was announced"
                );
                self.ledger.done(range);
            }
            return None;
        };
        if let Some(announced) = announced {
            let is_checked = self.check_until.is_some_and(|until| batch.range.first <= until);
            let doubt = if is_checked { announced.doubt.max(Doubt::SendMissing) } else { announced.doubt };
            batch.doubt = if announced.digest == batch.digest { doubt } else { Doubt::AllOrNothing };
            batch.may_be_half_done = true;
        } else if let Some(until) = self.check_until.filter(|until| batch.range.first <= *until) {
            batch.doubt = Doubt::SendMissing;
            batch.may_be_half_done = until <= batch.range.last;
        }
        self.push_sealed(batch, VecDeque::push_back);
        self.sealed.back()
    }

    fn push_sealed(&mut self, batch: Batch, push: fn(&mut VecDeque<Batch>, Batch)) {
        self.ledger.sealed(batch.announcement());
        push(&mut self.sealed, batch);
        // What was announced before is in the intent already, and has to be taken in before anything of it is written.
        if self.ledger.open_ranges() >= WAITING_RANGES && !self.is_recutting() {
            self.hold(Hold::Ranges);
        }
    }

    /// The next batch to write; one at a time, so that what is in flight stays one contiguous range.
    pub fn next_batch(&mut self) -> Option<Batch> {
        if self.is_writing || self.is_held(Hold::Stopped) || !self.ledger.is_announced(self.sealed.front()?.range) {
            return None;
        }
        self.is_writing = true;
        self.sealed.pop_front()
    }

    /// When a range was announced, seconds since 1970.
    pub fn announced_at(&self, range: Range) -> Option<u64> {
        self.ledger.announced_at(range)
    }

    /// A batch is durable.
    pub fn written(&mut self, range: Range) {
        self.is_writing = false;
        self.ledger.done(range);
        self.release(Hold::Store);
        if self.ledger.open_ranges() < WAITING_RANGES {
            self.release(Hold::Ranges);
        }
    }

    /// A batch cannot land whole: its pieces take its place, to be announced and written first.
    pub fn replace(&mut self, range: Range, pieces: Vec<Batch>) {
        self.is_writing = false;
        let announcements: Vec<_> = pieces.iter().map(Batch::announcement).collect();
        self.ledger.replace(range, &announcements);
        for piece in pieces.into_iter().rev() {
            self.sealed.push_front(piece);
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
        self.commit_sent.is_some()
    }

    /// Whether batches wait or are being written.
    pub fn is_busy(&self) -> bool {
        self.is_writing || !self.sealed.is_empty()
    }

    /// Whether nothing is left to write or to commit.
    pub fn is_settled(&self) -> bool {
        let is_done = self.open.is_none() && !self.is_busy() && self.ledger.is_settled();
        is_done || (self.is_held(Hold::Stopped) && !self.is_committing())
    }

    /// What to commit now, if there is something; `unix` is the wall clock in seconds since 1970. An announcement is
    /// never late; an offset alone waits a little for the next announcement to carry it.
    pub fn to_commit(&mut self, now: Instant, unix: u64) -> Option<Due> {
        if self.is_held(Hold::Stopped) || self.commit_after.is_some_and(|after| now < after) {
            return None;
        }
        let renew = self.is_busy() && self.lease.is_aging(now);
        let is_due = self.last_commit.is_none_or(|last| now.saturating_duration_since(last) >= COMMIT_EVERY);
        if !(renew || is_due || self.is_held(Hold::Drain) || self.ledger.has_unannounced()) {
            return None;
        }
        let due = self.ledger.to_commit(unix, renew)?;
        self.commit_sent = Some(now);
        self.last_commit = Some(now);
        Some(due)
    }

    /// Kafka answered the commit; says how long that took.
    pub fn commit_answered(&mut self, acknowledged: bool, now: Instant) -> Option<Duration> {
        self.ledger.answered(acknowledged);
        self.commit_after = (!acknowledged).then(|| now + COMMIT_WAIT);
        let sent = self.commit_sent.take()?;
        if acknowledged {
            self.lease.prove(sent);
        }
        Some(now.saturating_duration_since(sent))
    }

    /// The last commit of this assignment, unless one is still on its way.
    pub fn last_commit(&self, unix: u64) -> Option<Due> {
        if self.is_committing() || self.is_held(Hold::Stopped) { None } else { self.ledger.last_commit(unix) }
    }

    /// The offset below which nothing is missing, as far as that is known.
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

    /// What Kafka's client has to be told, if it does not know yet.
    pub fn flow_change(&mut self) -> Option<Flow> {
        if self.flow_after.is_some_and(|after| Instant::now() < after) {
            return None;
        }
        let wanted = self.holds != 0;
        if !wanted && std::mem::take(&mut self.must_seek) {
            self.is_paused = false;
            return Some(Flow::ResumeAt(self.start));
        }
        let is_news = wanted != self.is_paused;
        self.is_paused = wanted;
        if !is_news {
            return None;
        }
        Some(if wanted { Flow::Pause } else { Flow::Resume })
    }

    /// Kafka's client did not do what it was told; it is told again in a while.
    pub fn flow_failed(&mut self, flow: Flow, now: Instant) {
        self.is_paused = flow != Flow::Pause;
        self.must_seek |= matches!(flow, Flow::ResumeAt(_));
        self.flow_after = Some(now + FLOW_WAIT);
    }

    /// Whether Kafka's client was told to pause it.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use uuid::Uuid;

    pub(super) const LIMITS: Limits = Limits { rows: 100, bytes: 1 << 20, age: Duration::from_secs(30) };

    fn partition_at(start: &Start) -> Partition {
        let of = Assigned { pipeline: 0, partition: 0, epoch: 1 };
        let lease = Lease::new(Instant::now(), Duration::from_secs(30));
        let breaker = config::Breaker { rejected: 4, consecutive: 4, ..config::Breaker::default() };
        let mut partition = Partition::new(of, Origin::new("t", Uuid::nil(), 0), lease, 1, &breaker, start);
        if start.intent.is_some() {
            partition.release(Hold::Opening);
        }
        partition
    }

    pub(super) fn partition() -> Partition {
        let intent = Intent { decoder: 1, announced_at: 0, ranges: vec![] };
        partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent) })
    }

    pub(super) fn take(partition: &mut Partition, offset: i64) {
        let budget = Budget::new(1 << 20, 1);
        let batch = partition.open_with(|| OpenBatch::open(Instant::now(), budget.permit(0)));
        batch.note(offset, None, None);
        batch.push_row(0, b"row");
        partition.took(offset);
    }

    pub(super) fn announce(partition: &mut Partition) -> Due {
        let now = Instant::now();
        let due = partition.to_commit(now, 7).unwrap();
        partition.commit_answered(true, now);
        due
    }

    #[test]
    fn a_batch_is_written_once_announced_and_one_at_a_time() {
        let mut partition = partition();
        for offset in [7, 9] {
            take(&mut partition, offset);
            partition.seal(Cut::Rows);
        }
        assert!(partition.next_batch().is_none(), "nobody knows of it yet");
        assert_eq!(announce(&mut partition).offset, 0);
        let first = partition.next_batch().unwrap();
        assert!(partition.next_batch().is_none());
        partition.written(first.range);
        assert_eq!(partition.watermark(), Some(8));
        assert!(partition.next_batch().is_some());
    }

    #[test]
    fn an_offset_waits_for_the_next_announcement_but_not_for_long() {
        let mut partition = partition();
        take(&mut partition, 0);
        partition.seal(Cut::Rows);
        announce(&mut partition);
        let batch = partition.next_batch().unwrap();
        partition.written(batch.range);
        let now = Instant::now();
        assert_eq!(partition.to_commit(now, 8), None);
        assert_eq!(partition.to_commit(now + COMMIT_EVERY, 8).unwrap().offset, 1);
    }

    #[test]
    fn a_failed_commit_waits_before_it_is_tried_again() {
        let mut partition = partition();
        take(&mut partition, 0);
        partition.seal(Cut::Rows);
        let now = Instant::now();
        assert!(partition.to_commit(now, 1).is_some());
        partition.commit_answered(false, now);
        assert!(partition.to_commit(now, 1).is_none() && partition.next_batch().is_none());
        assert!(partition.to_commit(now + COMMIT_WAIT, 1).is_some());
    }

    #[test]
    fn an_aging_lease_is_renewed_while_there_is_work() {
        let mut partition = partition();
        take(&mut partition, 0);
        partition.seal(Cut::Rows);
        announce(&mut partition);
        let _batch = partition.next_batch().unwrap();
        let later = Instant::now() + Duration::from_secs(10);
        assert!(partition.to_commit(later, 1).is_some());
    }

    #[test]
    fn it_flows_again_only_when_every_reason_is_gone() {
        let mut partition = partition();
        partition.hold(Hold::Memory);
        partition.hold(Hold::Store);
        assert_eq!(partition.flow_change(), Some(Flow::Pause));
        partition.release(Hold::Memory);
        assert_eq!(partition.flow_change(), None);
        partition.release(Hold::Store);
        assert_eq!(partition.flow_change(), Some(Flow::Resume));
    }

    #[test]
    fn a_failed_resume_is_tried_again_from_the_same_place() {
        let mut partition = partition_at(&Start { offset: 40, committed: Some(40), intent: None });
        partition.flow_change();
        partition.opened(&Answer::GoOn);
        let flow = partition.flow_change().unwrap();
        partition.flow_failed(flow, Instant::now().checked_sub(FLOW_WAIT).unwrap());
        assert_eq!(partition.flow_change(), Some(Flow::ResumeAt(40)));
    }

    #[test]
    fn what_was_announced_is_cut_as_it_was_whatever_the_limits() {
        let what = |first, last, digest| Announced { range: Range { first, last }, digest, doubt: Doubt::No };
        let intent = Intent { decoder: 1, announced_at: 5, ranges: vec![what(0, 2, 0), what(3, 6, 0), what(8, 9, 0)] };
        let mut partition = partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent) });
        let few = Limits { rows: 1, ..LIMITS };
        take(&mut partition, 0);
        assert_eq!(partition.cut(&few, Instant::now()), None);
        assert!(partition.seal(Cut::Pressure).is_none() && partition.seal(Cut::Drain).is_none());
        take(&mut partition, 2);
        assert_eq!(partition.cut(&LIMITS, Instant::now()), Some(Cut::Announced));
        let batch = partition.seal(Cut::Announced).unwrap();
        assert_eq!(
            (batch.range, batch.doubt),
            (Range { first: 0, last: 2 }, Doubt::AllOrNothing),
            "its digest differs"
        );
        take(&mut partition, 4);
        assert!(partition.ends_before(7), "the end of the range is gone");
        assert_eq!(partition.seal(Cut::Announced).unwrap().range, Range { first: 3, last: 6 });
        assert!(partition.ends_before(10) && partition.seal(Cut::Announced).is_none(), "all of it is gone");
        assert!(!partition.is_recutting());
        let first = partition.next_batch().expect("it was announced before");
        partition.written(first.range);
        let second = partition.next_batch().unwrap();
        partition.written(second.range);
        assert_eq!(partition.watermark(), Some(10));
    }

    #[test]
    fn an_intent_that_is_older_than_its_table_is_cut_as_it_was_and_looked_up() {
        let what = |first, last| Announced { range: Range { first, last }, digest: 0, doubt: Doubt::No };
        let intent = Intent { decoder: 1, announced_at: 5, ranges: vec![what(40, 41)] };
        let start = Start { offset: 40, committed: Some(40), intent: Some(intent) };
        assert_eq!(start.announced_to(), Some(41));
        let mut partition = partition_at(&start);
        partition.hold(Hold::Store);
        assert_eq!(partition.opened(&Answer::Check { until: 45 }), None);
        assert!(!partition.is_held(Hold::Store), "the table has answered");
        take(&mut partition, 41);
        partition.announced[0].digest = {
            let budget = Budget::new(1 << 20, 1);
            let mut same = OpenBatch::open(Instant::now(), budget.permit(0));
            same.note(41, None, None);
            same.seal(None).unwrap().digest
        };
        let batch = partition.seal(Cut::Announced).unwrap();
        assert_eq!((batch.range, batch.doubt), (Range { first: 40, last: 41 }, Doubt::SendMissing));
        take(&mut partition, 45);
        assert_eq!(partition.cut(&LIMITS, Instant::now()), Some(Cut::Checked));
        assert_eq!(partition.seal(Cut::Checked).unwrap().doubt, Doubt::SendMissing);
        take(&mut partition, 46);
        assert_eq!(partition.seal(Cut::Rows).unwrap().doubt, Doubt::No);
    }

    #[test]
    fn a_partition_that_has_to_ask_takes_nothing_in_and_begins_at_its_start() {
        let mut partition = partition_at(&Start { offset: 40, committed: Some(40), intent: None });
        assert_eq!(partition.flow_change(), Some(Flow::Pause));
        assert_eq!(partition.opened(&Answer::Check { until: 41 }), None);
        assert_eq!(partition.flow_change(), Some(Flow::ResumeAt(40)));
        take(&mut partition, 40);
        assert_eq!(partition.cut(&LIMITS, Instant::now()), None);
        take(&mut partition, 41);
        assert_eq!(partition.cut(&LIMITS, Instant::now()), Some(Cut::Checked));
        let batch = partition.seal(Cut::Checked).unwrap();
        assert_eq!((batch.doubt, batch.may_be_half_done), (Doubt::SendMissing, true));
        take(&mut partition, 42);
        assert_eq!(partition.seal(Cut::Rows).unwrap().doubt, Doubt::No);
    }

    #[test]
    fn a_stopped_partition_writes_and_commits_nothing_more() {
        let mut partition = partition();
        for offset in [0, 1] {
            take(&mut partition, offset);
            partition.seal(Cut::Rows);
        }
        announce(&mut partition);
        let _refused = partition.next_batch().unwrap();
        partition.stop();
        assert!(partition.next_batch().is_none());
        assert_eq!(partition.to_commit(Instant::now() + COMMIT_EVERY, 1), None);
        assert_eq!(partition.last_commit(1), None);
        assert!(partition.is_settled());
    }

    #[test]
    fn more_ranges_than_may_wait_are_taken_over_all_the_same() {
        let one = |n: i64| Announced { range: Range { first: n, last: n }, digest: 0, doubt: Doubt::No };
        let most = i64::try_from(MOST_RANGES).unwrap();
        let intent = Intent { decoder: 1, announced_at: 5, ranges: (0..most).map(one).collect() };
        let mut partition = partition_at(&Start { offset: 0, committed: Some(0), intent: Some(intent) });
        for offset in 0..most {
            assert_eq!(partition.flow_change(), None, "it flows");
            take(&mut partition, offset);
            partition.seal(Cut::Announced);
        }
        assert!(partition.is_held(Hold::Ranges), "only now they are too many");
    }

    #[test]
    fn pieces_go_first_and_only_once_they_are_announced() {
        let mut partition = partition();
        for offset in 0..4 {
            take(&mut partition, offset);
        }
        partition.seal(Cut::Rows);
        take(&mut partition, 4);
        partition.seal(Cut::Rows);
        announce(&mut partition);
        let batch = partition.next_batch().unwrap();
        partition.replace(batch.range, batch.pieces(0, Some(1)));
        assert!(partition.next_batch().is_none());
        announce(&mut partition);
        let ranges: Vec<_> = std::iter::from_fn(|| {
            let batch = partition.next_batch()?;
            partition.written(batch.range);
            Some((batch.range.first, batch.range.last))
        })
        .collect();
        assert_eq!(ranges, [(0, 0), (1, 1), (2, 3), (4, 4)]);
    }
}
