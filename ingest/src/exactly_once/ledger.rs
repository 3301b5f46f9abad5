//! Which offset may be committed, and which ranges are announced with it.
//! A commit holds the offset below which every record is durable, and the [`Intent`] with the sealed ranges above it, up to
//! [`MAX_RANGES`]. The offset never moves backward and never passes a range that is not durable, and an announced range is
//! never dropped before it is durable. The ledger performs no I/O.

use std::collections::VecDeque;

use super::intent::{Announced, Doubt, Intent, MAX_RANGES};
use super::range::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Sealed but not announced: none of its rows may be sent.
    Sealed,
    /// Announced: its rows may have been sent, by this owner or an earlier one.
    Announced,
    /// Durable.
    Durable,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    announcement: Announced,
    state: State,
    /// In seconds since 1970: none of its rows was sent before. The time of the commit in which the range was first sent; after a
    /// takeover, that of the oldest range.
    announced_at: Option<u64>,
}

/// A commit in flight.
#[derive(Debug)]
struct InFlight {
    offset: i64,
    ranges: Vec<Range>,
}

/// An offset to commit, with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Every record below it is durable.
    pub offset: i64,
    /// The encoded intent.
    pub metadata: String,
}

/// The ranges of one assigned partition, from the first that is not durable.
#[derive(Debug, Default)]
pub struct Ledger {
    decoder: u64,
    entries: VecDeque<Entry>,
    /// Every record below it is durable. Unknown until the first range is durable if no offset was ever committed.
    watermark: Option<i64>,
    committed: Option<i64>,
    in_flight: Option<InFlight>,
}

impl Ledger {
    /// Creates the ledger of an assignment from the committed offset and its intent, if any.
    pub fn new(decoder: u64, committed: Option<i64>, intent: Option<&Intent>) -> Self {
        let entry = |intent: &Intent, announcement: &Announced| {
            // The next commit has this decoder's fingerprint, so the doubt has to be recorded in the range.
            let doubt = if intent.decoder == decoder { announcement.doubt } else { Doubt::AllOrNothing };
            let announcement = Announced { doubt, ..*announcement };
            Entry { announcement, state: State::Announced, announced_at: Some(intent.announced_at) }
        };
        let entries = intent
            .iter()
            .flat_map(|intent| intent.ranges.iter().map(|announcement| entry(intent, announcement)))
            .collect();
        Self { decoder, entries, watermark: committed, committed, in_flight: None }
    }

    /// Adds a sealed range. New ranges arrive in order; a range that was announced earlier is updated.
    pub fn add_sealed(&mut self, announcement: Announced) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.announcement.range == announcement.range) {
            entry.announcement = announcement;
            return;
        }
        debug_assert!(
            self.entries.back().is_none_or(|e| e.announcement.range.last < announcement.range.first),
            "ranges arrive in order"
        );
        self.entries.push_back(Entry { announcement, state: State::Sealed, announced_at: None });
    }

    /// Marks `range` as durable, and advances the watermark.
    pub fn mark_durable(&mut self, range: Range) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.announcement.range == range) {
            entry.state = State::Durable;
        }
        while let Some(Entry { announcement, state: State::Durable, .. }) = self.entries.front() {
            self.watermark = Some(announcement.range.last + 1);
            self.entries.pop_front();
        }
    }

    /// Advances the watermark to `offset`. There must be no open range, and no record between the last range and `offset`.
    pub fn advance_past(&mut self, offset: i64) {
        debug_assert!(self.entries.is_empty(), "the watermark never passes an open range");
        self.watermark = self.watermark.max(Some(offset));
    }

    /// The ranges whose announcement is acknowledged and that are not durable, in order.
    pub fn announced(&self) -> impl Iterator<Item = Announced> + '_ {
        self.entries.iter().filter(|entry| entry.state == State::Announced).map(|entry| entry.announcement)
    }

    /// Whether the announcement of the range is acknowledged and the range is not durable, so that it may be sent.
    pub fn is_announced(&self, range: Range) -> bool {
        self.entry(range).is_some_and(|entry| entry.state == State::Announced)
    }

    /// No later than when the range was first sent in a commit, in seconds since 1970.
    pub fn announced_at(&self, range: Range) -> Option<u64> {
        self.entry(range)?.announced_at
    }

    fn entry(&self, range: Range) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.announcement.range == range)
    }

    /// Drops the unannounced ranges: none of their rows was sent, so they may be sealed with other bounds. Returns the first
    /// offset dropped.
    pub fn drop_unannounced(&mut self) -> Option<i64> {
        let mut first = None;
        while let Some(Entry { announcement, .. }) = self.entries.pop_back_if(|entry| entry.state == State::Sealed) {
            first = Some(announcement.range.first);
        }
        first
    }

    /// The committed offset, if there is one.
    pub fn committed(&self) -> Option<i64> {
        self.committed
    }

    /// Number of ranges, durable ones included, starting at the first range that is not durable.
    pub fn open_ranges(&self) -> usize {
        self.entries.len()
    }

    /// Returns the commit to send at `now` (seconds since 1970); `None` if a commit is in flight, if there is no offset to
    /// commit, or if nothing has changed and `renew` is false.
    pub fn next_commit(&mut self, now: u64, renew: bool) -> Option<OffsetCommit> {
        if self.in_flight.is_some() || !(renew || self.has_changes()) {
            return None;
        }
        let offset = self.offset()?;
        let ranges = self.entries.iter_mut().take(MAX_RANGES);
        let ranges: Vec<Announced> = ranges
            .map(|entry| {
                entry.announced_at.get_or_insert(now);
                entry.announcement
            })
            .collect();
        self.in_flight =
            Some(InFlight { offset, ranges: ranges.iter().map(|announcement| announcement.range).collect() });
        Some(self.build_commit(offset, now, ranges))
    }

    /// Returns the final commit of an assignment; `None` if the watermark is unknown or already committed. Its intent holds the
    /// ranges that were sent in a commit, acknowledged or not, up to [`MAX_RANGES`]. Rows of other ranges were never sent, so
    /// the next owner may seal those other ranges with other bounds.
    pub fn final_commit(&self, now: u64) -> Option<OffsetCommit> {
        let offset = self.watermark?;
        let announced = self.entries.iter().filter(|entry| entry.announced_at.is_some()).take(MAX_RANGES);
        let announced = announced.map(|entry| entry.announcement).collect();
        (Some(offset) != self.committed).then(|| self.build_commit(offset, now, announced))
    }

    fn build_commit(&self, offset: i64, now: u64, ranges: Vec<Announced>) -> OffsetCommit {
        let oldest = self.entries.iter().filter_map(|entry| entry.announced_at).min();
        let intent = Intent { decoder: self.decoder, announced_at: oldest.unwrap_or(now), ranges };
        OffsetCommit { offset, metadata: intent.encode() }
    }

    fn offset(&self) -> Option<i64> {
        self.watermark.or_else(|| self.entries.front().map(|entry| entry.announcement.range.first))
    }

    /// Whether a range waits for its announcement.
    pub fn has_unannounced(&self) -> bool {
        self.entries.iter().take(MAX_RANGES).any(|entry| entry.state == State::Sealed)
    }

    fn has_changes(&self) -> bool {
        self.offset() != self.committed || self.has_unannounced()
    }

    /// Handles Kafka's response to the commit in flight; a failed one is due again.
    pub fn handle_commit_response(&mut self, acknowledged: bool) {
        let Some(commit) = self.in_flight.take().filter(|_| acknowledged) else { return };
        self.committed = Some(commit.offset);
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Sealed) {
            if commit.ranges.contains(&entry.announcement.range) {
                entry.state = State::Announced;
            }
        }
    }

    /// The offset below which every record is durable, if known.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Whether there is nothing to commit and no commit is in flight.
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_none() && !self.has_changes()
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(first: i64, last: i64) -> Announced {
        Announced { range: Range { first, last }, digest: u128::from(first.unsigned_abs()), doubt: Doubt::No }
    }

    fn intent(due: &OffsetCommit) -> Intent {
        Intent::parse(&due.metadata).unwrap()
    }

    #[test]
    fn a_range_is_announced_before_it_may_be_sent_and_committed_after() {
        let mut ledger = Ledger::new(7, Some(5), None);
        assert!(ledger.is_settled());
        ledger.add_sealed(announced(5, 9));
        assert!(!ledger.is_announced(announced(5, 9).range));
        let due = ledger.next_commit(100, false).unwrap();
        assert_eq!((due.offset, intent(&due).ranges, intent(&due).decoder), (5, vec![announced(5, 9)], 7));
        assert!(!ledger.is_announced(announced(5, 9).range), "not before the acknowledgement");
        assert_eq!(ledger.next_commit(101, true), None, "one at a time");
        ledger.handle_commit_response(true);
        assert!(ledger.is_announced(announced(5, 9).range));
        ledger.add_sealed(announced(10, 12));
        ledger.mark_durable(announced(5, 9).range);
        let due = ledger.next_commit(200, false).unwrap();
        assert_eq!((due.offset, intent(&due).ranges), (10, vec![announced(10, 12)]));
        ledger.handle_commit_response(true);
        assert!(ledger.is_settled() && ledger.next_commit(300, false).is_none());
        assert!(ledger.next_commit(300, true).is_some(), "a renewal repeats the last commit");
    }

    #[test]
    fn a_failed_commit_announces_nothing_and_is_due_again() {
        let mut ledger = Ledger::new(0, None, None);
        ledger.add_sealed(announced(5, 9));
        assert_eq!(ledger.next_commit(1, false).unwrap().offset, 5, "without a committed offset, the first one");
        ledger.handle_commit_response(false);
        assert!(!ledger.is_announced(announced(5, 9).range));
        assert_eq!(
            intent(&ledger.next_commit(9, false).unwrap()).announced_at,
            1,
            "the failed commit may have arrived"
        );
    }

    #[test]
    fn a_new_owner_keeps_announced_ranges_until_they_are_durable() {
        let earlier = Intent { decoder: 1, announced_at: 50, ranges: vec![announced(3, 4), announced(5, 9)] };
        let mut ledger = Ledger::new(1, Some(3), Some(&earlier));
        assert!(ledger.is_settled() && ledger.is_announced(announced(5, 9).range));
        ledger.add_sealed(announced(3, 4));
        ledger.mark_durable(announced(3, 4).range);
        let due = ledger.final_commit(99).unwrap();
        assert_eq!((due.offset, intent(&due).ranges, intent(&due).announced_at), (5, vec![announced(5, 9)], 50));
        ledger.add_sealed(announced(5, 9));
        ledger.add_sealed(announced(10, 11));
        assert_eq!(
            intent(&ledger.final_commit(99).unwrap()).ranges,
            [announced(5, 9)],
            "ranges never announced are omitted"
        );
    }

    #[test]
    fn ranges_of_another_decoder_stay_in_doubt() {
        let earlier = Intent { decoder: 1, announced_at: 50, ranges: vec![announced(3, 4)] };
        let mut ledger = Ledger::new(2, Some(3), Some(&earlier));
        let due = ledger.next_commit(60, true).unwrap();
        let intent = intent(&due);
        assert_eq!((intent.decoder, intent.ranges[0].doubt, intent.announced_at), (2, Doubt::AllOrNothing, 50));
    }
}
