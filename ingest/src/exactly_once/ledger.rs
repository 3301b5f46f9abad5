//! Stage five: which offset may be committed, and which ranges are announced with it.
//! Ranges go in as they are sealed and as they are done; what to commit comes out: the offset below which nothing is
//! missing, and the [`Intent`] beside it that names every sealed range above. Pure; the call to Kafka is made where the
//! consumer lives. It never moves backwards, never passes a range that is not done, and never lets go of a range that
//! Kafka knows of before that range is done.

use std::collections::VecDeque;

use super::intent::{Announced, Doubt, Intent, MAX_RANGES};
use super::range::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Known to this worker only: none of it may be sent.
    Sealed,
    /// Known to Kafka: it may have been sent, by whomever.
    Announced,
    /// Durable.
    Done,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    what: Announced,
    state: State,
    /// When Kafka was first told of its offsets, seconds since 1970; nothing of them was sent before.
    announced_at: Option<u64>,
}

/// A commit on its way.
#[derive(Debug)]
struct InFlight {
    offset: i64,
    ranges: Vec<Range>,
}

/// What to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// One past the last offset that is done.
    pub offset: i64,
    /// The intent, as text.
    pub metadata: String,
}

/// The ranges of one assigned partition that are sealed or announced and not yet committed.
#[derive(Debug, Default)]
pub struct Ledger {
    decoder: u64,
    entries: VecDeque<Entry>,
    /// Below it nothing is missing; unknown until something is done where no offset was ever committed.
    watermark: Option<i64>,
    committed: Option<i64>,
    in_flight: Option<InFlight>,
}

impl Ledger {
    /// The ledger at the start of an assignment: the committed offset, if there is one, and the intent found beside it.
    pub fn new(decoder: u64, committed: Option<i64>, found: Option<&Intent>) -> Self {
        let entry = |intent: &Intent, what: &Announced| {
            // From now on it stands beside our own fingerprint, so the doubt has to be written down.
            let doubt = if intent.decoder == decoder { what.doubt } else { Doubt::AllOrNothing };
            let what = Announced { doubt, ..*what };
            Entry { what, state: State::Announced, announced_at: Some(intent.announced_at) }
        };
        let entries = found.iter().flat_map(|intent| intent.ranges.iter().map(|what| entry(intent, what))).collect();
        Self { decoder, entries, watermark: committed, committed, in_flight: None }
    }

    /// Takes note of a sealed range. New ones come in order; one that was announced before is known already, and keeps
    /// what is new about it.
    pub fn sealed(&mut self, what: Announced) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.what.range == what.range) {
            entry.what = what;
            return;
        }
        debug_assert!(self.entries.back().is_none_or(|e| e.what.range.last < what.range.first), "ranges come in order");
        self.entries.push_back(Entry { what, state: State::Sealed, announced_at: None });
    }

    /// Takes note that everything in `range` is durable, and moves the watermark as far as it goes.
    pub fn done(&mut self, range: Range) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.what.range == range) {
            entry.state = State::Done;
        }
        while let Some(Entry { what, state: State::Done, .. }) = self.entries.front() {
            self.watermark = Some(what.range.last + 1);
            self.entries.pop_front();
        }
    }

    /// Everything below `offset` was seen and is done; what lies between the last range and it are no records. Nothing
    /// may be open.
    pub fn passed(&mut self, offset: i64) {
        debug_assert!(self.entries.is_empty(), "an open range is never passed");
        self.watermark = self.watermark.max(Some(offset));
    }

    /// The ranges that Kafka knows of and that are not done, in order.
    pub fn announced(&self) -> impl Iterator<Item = Announced> + '_ {
        self.entries.iter().filter(|entry| entry.state == State::Announced).map(|entry| entry.what)
    }

    /// Whether Kafka knows of the range, so that it may be sent.
    pub fn is_announced(&self, range: Range) -> bool {
        self.entry(range).is_some_and(|entry| entry.state == State::Announced)
    }

    /// When the range was announced, seconds since 1970.
    pub fn announced_at(&self, range: Range) -> Option<u64> {
        self.entry(range)?.announced_at
    }

    fn entry(&self, range: Range) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.what.range == range)
    }

    /// Lets go of the newest ranges, those that Kafka does not know of: nothing of them was sent, so they may be cut
    /// otherwise. Gives back where they begin.
    pub fn forget_unannounced(&mut self) -> Option<i64> {
        let mut first = None;
        while let Some(Entry { what, .. }) = self.entries.pop_back_if(|entry| entry.state == State::Sealed) {
            first = Some(what.range.first);
        }
        first
    }

    /// The offset that Kafka has, if there is one.
    pub fn committed(&self) -> Option<i64> {
        self.committed
    }

    /// How many ranges are not done, counted from the first that is not.
    pub fn open_ranges(&self) -> usize {
        self.entries.len()
    }

    /// What to commit at `now` (seconds since 1970); `None` if a commit is in flight, or if Kafka knows everything and
    /// no renewal is asked for.
    pub fn to_commit(&mut self, now: u64, renew: bool) -> Option<OffsetCommit> {
        if self.in_flight.is_some() || !(renew || self.has_news()) {
            return None;
        }
        let offset = self.offset()?;
        let told = self.entries.iter_mut().take(MAX_RANGES);
        let told: Vec<Announced> = told
            .map(|entry| {
                entry.announced_at.get_or_insert(now);
                entry.what
            })
            .collect();
        self.in_flight = Some(InFlight { offset, ranges: told.iter().map(|what| what.range).collect() });
        Some(self.due(offset, now, told))
    }

    /// The last commit of an assignment: what is done, and what Kafka was told of, as far as an intent has room. Ranges
    /// that were never announced were never sent, so the next owner may cut them otherwise.
    pub fn last_commit(&self, now: u64) -> Option<OffsetCommit> {
        let offset = self.watermark?;
        let known = self.entries.iter().filter(|entry| entry.announced_at.is_some()).take(MAX_RANGES);
        let known = known.map(|entry| entry.what).collect();
        (Some(offset) != self.committed).then(|| self.due(offset, now, known))
    }

    fn due(&self, offset: i64, now: u64, ranges: Vec<Announced>) -> OffsetCommit {
        let oldest = self.entries.iter().filter_map(|entry| entry.announced_at).min();
        let intent = Intent { decoder: self.decoder, announced_at: oldest.unwrap_or(now), ranges };
        OffsetCommit { offset, metadata: intent.encode() }
    }

    fn offset(&self) -> Option<i64> {
        self.watermark.or_else(|| self.entries.front().map(|entry| entry.what.range.first))
    }

    /// Whether a range waits for its announcement.
    pub fn has_unannounced(&self) -> bool {
        self.entries.iter().take(MAX_RANGES).any(|entry| entry.state == State::Sealed)
    }

    fn has_news(&self) -> bool {
        self.offset() != self.committed || self.has_unannounced()
    }

    /// Takes note of Kafka's answer to the commit in flight; a failed one is offered again.
    pub fn answered(&mut self, acknowledged: bool) {
        let Some(told) = self.in_flight.take().filter(|_| acknowledged) else { return };
        self.committed = Some(told.offset);
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Sealed) {
            if told.ranges.contains(&entry.what.range) {
                entry.state = State::Announced;
            }
        }
    }

    /// The offset below which nothing is missing, if that is known.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Whether Kafka knows everything and no answer is missing.
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_none() && !self.has_news()
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn what(first: i64, last: i64) -> Announced {
        Announced { range: Range { first, last }, digest: u128::from(first.unsigned_abs()), doubt: Doubt::No }
    }

    fn intent(due: &OffsetCommit) -> Intent {
        Intent::parse(&due.metadata).unwrap()
    }

    #[test]
    fn a_range_is_announced_before_it_may_be_sent_and_committed_after() {
        let mut ledger = Ledger::new(7, Some(5), None);
        assert!(ledger.is_settled());
        ledger.sealed(what(5, 9));
        assert!(!ledger.is_announced(what(5, 9).range));
        let due = ledger.to_commit(100, false).unwrap();
        assert_eq!((due.offset, intent(&due).ranges, intent(&due).decoder), (5, vec![what(5, 9)], 7));
        assert!(!ledger.is_announced(what(5, 9).range), "not before the answer");
        assert_eq!(ledger.to_commit(101, true), None, "one at a time");
        ledger.answered(true);
        assert!(ledger.is_announced(what(5, 9).range));
        ledger.sealed(what(10, 12));
        ledger.done(what(5, 9).range);
        let due = ledger.to_commit(200, false).unwrap();
        assert_eq!((due.offset, intent(&due).ranges), (10, vec![what(10, 12)]));
        ledger.answered(true);
        assert!(ledger.is_settled() && ledger.to_commit(300, false).is_none());
        assert!(ledger.to_commit(300, true).is_some(), "a renewal says the same again");
    }

    #[test]
    fn a_failed_commit_announces_nothing_and_is_offered_again() {
        let mut ledger = Ledger::new(0, None, None);
        ledger.sealed(what(5, 9));
        assert_eq!(ledger.to_commit(1, false).unwrap().offset, 5, "where nothing was committed, the first offset");
        ledger.answered(false);
        assert!(!ledger.is_announced(what(5, 9).range));
        assert_eq!(intent(&ledger.to_commit(9, false).unwrap()).announced_at, 1, "it may have arrived all the same");
    }

    #[test]
    fn a_new_owner_never_lets_go_of_what_was_announced_before_it_is_done() {
        let found = Intent { decoder: 1, announced_at: 50, ranges: vec![what(3, 4), what(5, 9)] };
        let mut ledger = Ledger::new(1, Some(3), Some(&found));
        assert!(ledger.is_settled() && ledger.is_announced(what(5, 9).range));
        ledger.sealed(what(3, 4));
        ledger.done(what(3, 4).range);
        let due = ledger.last_commit(99).unwrap();
        assert_eq!((due.offset, intent(&due).ranges, intent(&due).announced_at), (5, vec![what(5, 9)], 50));
        ledger.sealed(what(5, 9));
        ledger.sealed(what(10, 11));
        assert_eq!(intent(&ledger.last_commit(99).unwrap()).ranges, [what(5, 9)], "what was never sent is left out");
    }

    #[test]
    fn what_another_decoder_announced_is_doubted_from_then_on() {
        let found = Intent { decoder: 1, announced_at: 50, ranges: vec![what(3, 4)] };
        let mut ledger = Ledger::new(2, Some(3), Some(&found));
        let due = ledger.to_commit(60, true).unwrap();
        let told = intent(&due);
        assert_eq!((told.decoder, told.ranges[0].doubt, told.announced_at), (2, Doubt::AllOrNothing, 50));
    }
}
