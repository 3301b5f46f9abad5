//! Takeover of a partition: where to begin, and whether the table has to be checked.
//! It decides from the state in Kafka and in the table, and performs no I/O.
//!
//! | committed offset | its metadata | rows of this topic in the table | decision |
//! |---|---|---|---|
//! | below or above the log | | | stop: records were deleted, or the topic was recreated or truncated |
//! | yes | an intent | none above the announced ranges | continue; announced ranges are sealed with the same bounds |
//! | yes | an intent | some above the announced ranges | the same in checked mode: the intent is not the latest one |
//! | yes | anything else | | continue in checked mode: look up before every send, through the highest row and the end of the log |
//! | no | | none | begin at the start of the log |
//! | no | | some | stop: the group is new or was deleted, and an operator has to decide |
//!
//! Nothing is sent before it is announced, so if a table holds more than was announced, there was a later commit: the
//! group's offsets were reset, or restored from a backup. An offset without an intent was set by another program or an
//! operator: the records after it may have been written and since deleted, while ClickHouse still remembers their tokens.

use super::intent::Intent;
use crate::clock::age;
use crate::fault::{Fault, is_injected};
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::watermarks::Watermarks;

/// Start of an assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// First offset to consume.
    pub offset: i64,
    /// The group's committed offset.
    pub committed: Option<i64>,
    /// The intent in the offset's metadata; `None` if the metadata is not an intent.
    pub intent: Option<Intent>,
    /// Every batch through this offset is looked up before it is sent, regardless of the rows in the table.
    pub lookup_through: Option<i64>,
}

impl Start {
    /// Creates the start of a partition that stops before its first record.
    pub fn stopped(offsets: &PartitionOffsets) -> Self {
        let offset = offsets.committed.unwrap_or(offsets.bounds.low);
        Self { offset, committed: offsets.committed, intent: None, lookup_through: None }
    }

    /// The highest offset that the table may hold according to the intent: nothing is sent before it is announced.
    pub fn announced_through(&self) -> Option<i64> {
        let ranges = &self.intent.as_ref()?.ranges;
        Some(ranges.last().map_or(self.offset - 1, |announced| announced.range.last))
    }

    /// Decides how to continue once the table's highest offset of this topic and partition is known.
    pub fn continue_after(&self, highest: Option<i64>) -> Continuation {
        match (self.committed, highest.max(self.lookup_through)) {
            (_, None) => Continuation::Proceed,
            (None, Some(highest)) => Continuation::Stop(format!(
                "the group has no offset, but the table holds rows of this topic up to offset {highest}; decide with `sluice \
                 ingest offsets accept`"
            )),
            (Some(offset), Some(highest)) if highest <= self.announced_through().unwrap_or(offset - 1) => {
                Continuation::Proceed
            }
            (Some(_), Some(_)) if is_injected(Fault::IgnoreIntent) => Continuation::Proceed,
            (Some(_), Some(through)) => Continuation::Check { through },
        }
    }
}

/// How an assignment continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuation {
    /// The table holds no unannounced rows.
    Proceed,
    /// Batches are looked up before they are sent.
    Check {
        /// The last offset to look up.
        through: i64,
    },
    /// An operator has to decide.
    Stop(String),
}

/// Decides where to start, at `now` (seconds since 1970); an error is a reason to stop. An announcement dated in the future
/// counts as the oldest possible, since its age is unknown.
pub fn start(offsets: &PartitionOffsets, now: u64) -> Result<Start, String> {
    let PartitionOffsets { committed, metadata, bounds: Watermarks { low, high, .. } } = offsets;
    let Some(offset) = *committed else {
        return Ok(Start { offset: *low, committed: None, intent: None, lookup_through: None });
    };
    if offset < *low {
        return Err(format!(
            "the group's offset {offset} is below the start of the log, {low}: records were deleted before they were \
             consumed; decide with `sluice ingest offsets set`"
        ));
    }
    if offset > *high {
        return Err(format!(
            "the group's offset {offset} is above the end of the log, {high}: the topic was recreated or lost records; \
             decide with `sluice ingest offsets set`"
        ));
    }
    let mut intent = Intent::parse(metadata);
    if let Some(intent) = intent.as_mut().filter(|_| is_injected(Fault::IgnoreIntent)) {
        intent.ranges.clear();
    }
    if let Some(intent) = intent.as_mut().filter(|intent| age(intent.announced_at, now).is_none()) {
        intent.announced_at = if is_injected(Fault::TrustFutureAnnouncements) { intent.announced_at } else { 0 };
    }
    let lookup_through = (intent.is_none() && offset < *high).then_some(*high - 1);
    Ok(Start { offset, committed: Some(offset), intent, lookup_through })
}

/// Which rows of a part are in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// None of its rows.
    Nothing,
    /// Each row exactly once.
    All,
    /// Some of its rows, each exactly once.
    Some,
    /// At least one row more than once.
    Duplicated,
}

/// Compares the offsets of a part with those found in the part's range, both in order. Rows of the range's other parts are
/// ignored.
pub fn compare(expected: impl Iterator<Item = i64>, found: &[i64]) -> Presence {
    let (mut total, mut present) = (0, 0);
    for offset in expected {
        total += 1;
        let from = found.partition_point(|found| *found < offset);
        match found[from..].iter().take_while(|found| **found == offset).count() {
            0 => {}
            1 => present += 1,
            _ => return Presence::Duplicated,
        }
    }
    match present {
        0 => Presence::Nothing,
        all if all == total => Presence::All,
        _ => Presence::Some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exactly_once::intent::{Announced, Doubt};
    use crate::exactly_once::range::Range;
    use proptest::prelude::*;

    fn offsets(committed: Option<i64>, metadata: &str) -> PartitionOffsets {
        PartitionOffsets {
            committed,
            metadata: metadata.to_owned(),
            bounds: Watermarks { low: 10, stable: 20, high: 20 },
        }
    }

    fn start_at(committed: Option<i64>, announced: Option<i64>, lookup_through: Option<i64>) -> Start {
        let announcement = |last| Announced { range: Range { first: 12, last }, digest: 0, doubt: Doubt::No };
        let intent = announced.map(|last| Intent { decoder: 0, announced_at: 7, ranges: vec![announcement(last)] });
        Start { offset: committed.unwrap_or(10), committed, intent, lookup_through }
    }

    #[test]
    fn every_case_of_the_table_above() {
        let metadata = "sluice2 0000000000000001 7";
        let begin = |committed, metadata: &str, now| start(&offsets(committed, metadata), now);
        assert!(begin(Some(9), metadata, 7).is_err_and(|why| why.contains("below the start")));
        assert!(begin(Some(21), metadata, 7).is_err_and(|why| why.contains("above the end")));
        for offset in [10, 20] {
            let start = begin(Some(offset), metadata, 7).unwrap();
            assert_eq!((start.offset, start.intent.is_some(), start.lookup_through), (offset, true, None));
        }
        assert_eq!(begin(Some(12), "", 7), Ok(start_at(Some(12), None, Some(19))));
        assert_eq!(begin(Some(20), "", 7), Ok(start_at(Some(20), None, None)));
        assert_eq!(begin(None, "", 7), Ok(start_at(None, None, None)));
        for (now, announced_at) in [(6, 0), (8, 7)] {
            assert_eq!(begin(Some(10), metadata, now).unwrap().intent.unwrap().announced_at, announced_at);
        }
        let after = |committed, announced, highest, lookup_through| {
            start_at(committed, announced, lookup_through).continue_after(highest)
        };
        assert_eq!(after(Some(12), None, None, None), Continuation::Proceed);
        assert_eq!(after(Some(12), None, Some(11), None), Continuation::Proceed);
        assert_eq!(after(Some(12), None, Some(12), None), Continuation::Check { through: 12 });
        assert_eq!(after(Some(12), Some(14), Some(14), None), Continuation::Proceed);
        assert_eq!(after(Some(12), Some(14), Some(15), None), Continuation::Check { through: 15 });
        assert_eq!(after(Some(12), None, None, Some(19)), Continuation::Check { through: 19 });
        assert_eq!(after(Some(12), None, Some(25), Some(19)), Continuation::Check { through: 25 });
        assert_eq!(after(None, None, None, None), Continuation::Proceed);
        assert!(matches!(after(None, None, Some(0), None), Continuation::Stop(_)));
    }

    #[test]
    fn presence_of_a_part() {
        let compare = |expected: &[i64], found: &[i64]| compare(expected.iter().copied(), found);
        assert_eq!(compare(&[1, 2, 5], &[]), Presence::Nothing);
        assert_eq!(compare(&[1, 2, 5], &[3, 4]), Presence::Nothing);
        assert_eq!(compare(&[1, 2, 5], &[1, 2, 4, 5]), Presence::All);
        assert_eq!(compare(&[1, 2, 5], &[1, 5]), Presence::Some);
        assert_eq!(compare(&[1, 2, 5], &[1, 1, 2, 5]), Presence::Duplicated);
    }

    proptest! {
        #[test]
        fn comparing_agrees_with_sets(
            expected in proptest::collection::btree_set(0_i64..30, 1..20), found in proptest::collection::btree_set(0_i64..30, 0..30)
        ) {
            let list: Vec<_> = found.iter().copied().collect();
            let presence = compare(expected.iter().copied(), &list);
            let common = expected.intersection(&found).count();
            let expected = if common == 0 { Presence::Nothing } else if common == expected.len() { Presence::All } else { Presence::Some };
            prop_assert_eq!(presence, expected);
        }
    }
}
