//! Stage five: which offset may be committed.
//! Ranges go in as they are sealed and as they are done, in any order; the watermark comes out: the offset below which
//! nothing is missing. Pure; the call to Kafka is made where the consumer lives. It never moves backwards and never
//! passes a range that is not done.

use std::collections::VecDeque;

/// Offsets of one batch, both ends included. Offsets between them may be missing (compaction, aborted transactions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Offset of the first record.
    pub first: i64,
    /// Offset of the last record.
    pub last: i64,
}

/// The ranges of one assigned partition that are sealed and not yet committed.
#[derive(Debug, Default)]
pub struct Ledger {
    ranges: VecDeque<(Range, bool)>,
    /// Next offset to be consumed by whoever comes after us, as far as we know.
    watermark: Option<i64>,
    committed: Option<i64>,
    in_flight: Option<i64>,
}

impl Ledger {
    /// Takes note of a sealed range. Ranges come in order.
    pub fn sealed(&mut self, range: Range) {
        debug_assert!(self.ranges.back().is_none_or(|(last, _)| last.last < range.first), "ranges come in order");
        self.ranges.push_back((range, false));
    }

    /// Takes note that everything in `range` is durable, and moves the watermark as far as it goes.
    pub fn done(&mut self, range: Range) {
        if let Some(entry) = self.ranges.iter_mut().find(|(known, _)| *known == range) {
            entry.1 = true;
        }
        while let Some((range, true)) = self.ranges.front().copied() {
            self.watermark = Some(range.last + 1);
            self.ranges.pop_front();
        }
    }

    /// The offset to commit now; `None` if there is nothing new or a commit is still in flight.
    pub fn to_commit(&mut self) -> Option<i64> {
        if self.in_flight.is_some() || self.watermark == self.committed {
            return None;
        }
        self.in_flight = self.watermark;
        self.watermark
    }

    /// Takes note of Kafka's answer to the commit in flight; a failed one is offered again.
    pub fn answered(&mut self, acknowledged: bool) {
        if let Some(offset) = self.in_flight.take().filter(|_| acknowledged) {
            self.committed = Some(offset);
        }
    }

    /// The offset below which nothing is missing, if anything is done at all.
    pub fn watermark(&self) -> Option<i64> {
        self.watermark
    }

    /// Whether everything that was sealed is done and committed.
    pub fn is_settled(&self) -> bool {
        self.ranges.is_empty() && self.watermark == self.committed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_failed_commit_is_offered_again_and_only_one_is_in_flight() {
        let mut ledger = Ledger::default();
        let range = Range { first: 5, last: 9 };
        ledger.sealed(range);
        assert_eq!(ledger.to_commit(), None);
        ledger.done(range);
        assert_eq!(ledger.to_commit(), Some(10));
        assert_eq!(ledger.to_commit(), None);
        ledger.answered(false);
        assert!(!ledger.is_settled());
        assert_eq!(ledger.to_commit(), Some(10));
        ledger.answered(true);
        assert_eq!(ledger.to_commit(), None);
        assert!(ledger.is_settled());
    }

    proptest! {
        /// Against a model that looks at every offset: whatever the order of completion, and with gaps between offsets,
        /// the watermark is one past the longest done prefix.
        #[test]
        fn the_watermark_is_the_longest_done_prefix(
            lengths in proptest::collection::vec((1_i64..5, 0_i64..3), 1..20), order in any::<u64>()
        ) {
            let mut ranges = Vec::new();
            let mut next = 100;
            for (length, gap) in lengths {
                ranges.push(Range { first: next, last: next + length - 1 });
                next += length + gap;
            }
            let mut ledger = Ledger::default();
            for range in &ranges {
                ledger.sealed(*range);
            }
            let mut shuffled: Vec<_> = (0..ranges.len()).collect();
            shuffled.sort_by_key(|index| (*index as u64 + 1).wrapping_mul(order | 1));
            let mut is_done = vec![false; ranges.len()];
            for index in shuffled {
                ledger.done(ranges[index]);
                is_done[index] = true;
                let prefix = is_done.iter().take_while(|done| **done).count();
                let wanted = prefix.checked_sub(1).map(|last| ranges[last].last + 1);
                prop_assert_eq!(ledger.watermark(), wanted);
            }
        }
    }
}
