//! Up to which record a tenant's communications are committed, over time. Groups are committed in any order; what counts is
//! how far all groups from the first on are. It reads no store and no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Which groups are committed, and since when. Takes 24 bytes for each group.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// Number of the first group that is not committed. It stays if that group is given up.
    next: u64,
    /// Newest records of later groups that are committed.
    later: BTreeMap<u64, DateTime<Utc>>,
    /// The newest record before `next` at each time at which that grew.
    history: Vec<(Duration, DateTime<Utc>)>,
}

impl Committed {
    /// Adds a group, its number and its newest record, that is committed `at` the latest.
    pub(super) fn add(&mut self, (number, newest): (u64, DateTime<Utc>), at: Duration) {
        self.later.insert(number, newest);
        let mut last = None;
        while let Some(newest) = self.later.remove(&self.next) {
            (self.next, last) = (self.next + 1, Some(newest));
        }
        if let Some(newest) = last {
            // Times of different writers may arrive out of order.
            let at = self.history.last().map_or(at, |(before, _)| at.max(*before));
            self.history.push((at, newest));
        }
    }

    /// All communications before this instant, which is itself open, were committed by then.
    pub(super) fn before(&self, at: Duration) -> Option<DateTime<Utc>> {
        let known = self.history.partition_point(|(committed, _)| *committed <= at);
        Some(self.history[known.checked_sub(1)?].1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn newest(number: u64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_000 * number.cast_signed()).unwrap()
    }

    proptest! {
        #[test]
        fn only_what_is_committed_without_a_gap_counts(order in Just((0_u64..12).collect::<Vec<_>>()).prop_shuffle(), lost in 0_u64..14, asked in 0_u64..14) {
            let mut committed = Committed::default();
            let order: Vec<u64> = order.into_iter().filter(|&number| number != lost).collect();
            for (at, &number) in (0..).zip(&order) {
                committed.add((number, newest(number)), Duration::from_secs(at));
            }
            let known = &order[..order.len().min(asked as usize + 1)];
            let without_gap = (0..12).take_while(|number| known.contains(number)).last();
            prop_assert_eq!(committed.before(Duration::from_secs(asked)), without_gap.map(newest));
        }
    }

    #[test]
    fn a_commit_counts_from_the_time_at_which_it_was_known() {
        let mut committed = Committed::default();
        committed.add((0, newest(0)), Duration::from_secs(5));
        assert_eq!(committed.before(Duration::from_millis(4_999)), None);
        assert_eq!(committed.before(Duration::from_secs(5)), Some(newest(0)));
        committed.add((1, newest(1)), Duration::from_secs(4));
        assert_eq!(committed.before(Duration::from_secs(4)), None, "times never go back");
        assert_eq!(committed.before(Duration::from_secs(5)), Some(newest(1)));
    }
}
