//! Taking a partition over: where to begin, and what to believe.
//! What Kafka and the table say goes in, one decision comes out. Pure; whoever owns the partition asks and acts.
//!
//! | committed offset | text beside it | rows of this topic in the table | then |
//! |---|---|---|---|
//! | below or above the log | | | stop: records are gone, or the topic is not what it was |
//! | yes | our intent | none above what it announces | go on; the announced ranges are cut as they were |
//! | yes | our intent | some above that | the same in checked mode: it is an earlier intent than the last one |
//! | yes | anything else | | go on in checked mode: look up before every send, up to the highest row and the end of the log |
//! | no | | none | begin at the start of the log |
//! | no | | some | stop: the group is new or was deleted, and only an operator knows |
//!
//! Nothing is sent before it is announced, so a table that holds more than was announced has seen a later commit: the
//! group's offsets were set back, or restored as they once were. An offset without our text was set by somebody: what
//! follows it may have been written before and deleted since, and ClickHouse then still remembers its tokens.

use super::intent::Intent;
use crate::clock::age;
use crate::failpoint::is_sabotaged;
use crate::kafka::log_ends::Ends;

/// What Kafka says about a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Offset that the group committed.
    pub committed: Option<i64>,
    /// Text beside it.
    pub metadata: String,
    /// Where the log begins and ends.
    pub ends: Ends,
}

/// How to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Ask the table for its highest offset first, see [`after_asking`].
    Ask {
        /// First offset to consume, if the answer allows it.
        offset: i64,
        /// What was announced, if that is known.
        intent: Option<Intent>,
        /// Up to where to look before every send, whatever the table answers.
        check_to: Option<i64>,
    },
    /// An operator has to decide.
    Stop(String),
}

/// Decides from Kafka's side at `now`, seconds since 1970. When an announcement from the future was made nobody knows, so it
/// counts as the oldest there can be.
pub fn open(found: &Found, now: u64) -> Opening {
    let Found { committed, metadata, ends: Ends { low, high, .. } } = found;
    let Some(offset) = *committed else { return Opening::Ask { offset: *low, intent: None, check_to: None } };
    if offset < *low {
        return Opening::Stop(format!(
            "the group's offset {offset} is below the start of the log, {low}: records were deleted before they were \
             consumed; decide with `sluice ingest offsets set`"
        ));
    }
    if offset > *high {
        return Opening::Stop(format!(
            "the group's offset {offset} is above the end of the log, {high}: the topic was made anew or lost records; \
             decide with `sluice ingest offsets set`"
        ));
    }
    let mut intent = Intent::parse(metadata);
    if let Some(intent) = intent.as_mut().filter(|_| is_sabotaged("intent")) {
        intent.ranges.clear();
    }
    if let Some(intent) = intent.as_mut().filter(|intent| age(intent.announced_at, now).is_none()) {
        intent.announced_at = if is_sabotaged("future") { intent.announced_at } else { 0 };
    }
    let check_to = (intent.is_none() && offset < *high).then_some(*high - 1);
    Opening::Ask { offset, intent, check_to }
}

/// What the table's answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing of what comes next can be there.
    GoOn,
    /// Look up every batch up to this offset before it is sent.
    Check {
        /// The table's highest offset.
        until: i64,
    },
    /// An operator has to decide.
    Stop(String),
}

/// Decides once the table's highest offset of this topic and partition is known; `announced` is the highest one that our
/// intent allows for, if there is one, and `check_to` comes from [`open`].
pub fn after_asking(
    committed: Option<i64>,
    announced: Option<i64>,
    highest: Option<i64>,
    check_to: Option<i64>,
) -> Answer {
    match (committed, highest.max(check_to)) {
        (_, None) => Answer::GoOn,
        (None, Some(highest)) => Answer::Stop(format!(
            "the group has no offset, but the table holds rows of this topic up to offset {highest}; decide with `sluice \
             ingest offsets accept`"
        )),
        (Some(offset), Some(highest)) if highest <= announced.unwrap_or(offset - 1) => Answer::GoOn,
        (Some(_), Some(_)) if is_sabotaged("intent") => Answer::GoOn,
        (Some(_), Some(until)) => Answer::Check { until },
    }
}

/// What of a part is in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// None of its rows.
    Nothing,
    /// Each of its rows once.
    All,
    /// Some of its rows, each once.
    Some,
    /// A row of it twice.
    Double,
}

/// Compares the offsets of a part with those that were found in its range, both in order. Rows of the range's other
/// parts are none of its business.
pub fn compare(expected: impl Iterator<Item = i64>, found: &[i64]) -> There {
    let (mut total, mut there) = (0, 0);
    for offset in expected {
        total += 1;
        let from = found.partition_point(|one| *one < offset);
        match found[from..].iter().take_while(|one| **one == offset).count() {
            0 => {}
            1 => there += 1,
            _ => return There::Double,
        }
    }
    match there {
        0 => There::Nothing,
        all if all == total => There::All,
        _ => There::Some,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(committed: Option<i64>, metadata: &str) -> Found {
        Found { committed, metadata: metadata.to_owned(), ends: Ends { low: 10, stable: 20, high: 20 } }
    }

    #[test]
    fn each_row_of_the_table_above() {
        let ours = "sluice2 0000000000000001 7";
        assert!(matches!(open(&found(Some(9), ours), 7), Opening::Stop(why) if why.contains("below the start")));
        assert!(matches!(open(&found(Some(21), ours), 7), Opening::Stop(why) if why.contains("above the end")));
        assert!(matches!(
            open(&found(Some(20), ours), 7),
            Opening::Ask { offset: 20, intent: Some(_), check_to: None }
        ));
        assert!(matches!(
            open(&found(Some(10), ours), 7),
            Opening::Ask { offset: 10, intent: Some(_), check_to: None }
        ));
        assert_eq!(open(&found(Some(12), ""), 7), Opening::Ask { offset: 12, intent: None, check_to: Some(19) });
        assert_eq!(open(&found(Some(20), ""), 7), Opening::Ask { offset: 20, intent: None, check_to: None });
        assert_eq!(open(&found(None, ""), 7), Opening::Ask { offset: 10, intent: None, check_to: None });
        assert!(matches!(
            open(&found(Some(10), ours), 6),
            Opening::Ask { intent: Some(Intent { announced_at: 0, .. }), .. }
        ));
        assert!(matches!(
            open(&found(Some(10), ours), 8),
            Opening::Ask { intent: Some(Intent { announced_at: 7, .. }), .. }
        ));
        assert_eq!(after_asking(Some(12), None, None, None), Answer::GoOn);
        assert_eq!(after_asking(Some(12), None, Some(11), None), Answer::GoOn);
        assert_eq!(after_asking(Some(12), None, Some(12), None), Answer::Check { until: 12 });
        assert_eq!(after_asking(Some(12), Some(14), Some(14), None), Answer::GoOn);
        assert_eq!(after_asking(Some(12), Some(14), Some(15), None), Answer::Check { until: 15 });
        assert_eq!(after_asking(Some(12), None, None, Some(19)), Answer::Check { until: 19 });
        assert_eq!(after_asking(Some(12), None, Some(25), Some(19)), Answer::Check { until: 25 });
        assert_eq!(after_asking(None, None, None, None), Answer::GoOn);
        assert!(matches!(after_asking(None, None, Some(0), None), Answer::Stop(_)));
    }

    #[test]
    fn a_part_is_there_whole_or_not() {
        let compare = |expected: &[i64], found: &[i64]| compare(expected.iter().copied(), found);
        assert_eq!(compare(&[1, 2, 5], &[]), There::Nothing);
        assert_eq!(compare(&[1, 2, 5], &[3, 4]), There::Nothing);
        assert_eq!(compare(&[1, 2, 5], &[1, 2, 4, 5]), There::All);
        assert_eq!(compare(&[1, 2, 5], &[1, 5]), There::Some);
        assert_eq!(compare(&[1, 2, 5], &[1, 1, 2, 5]), There::Double);
    }

    proptest! {
        #[test]
        fn comparing_agrees_with_sets(
            expected in proptest::collection::btree_set(0_i64..30, 1..20), found in proptest::collection::btree_set(0_i64..30, 0..30)
        ) {
            let list: Vec<_> = found.iter().copied().collect();
            let there = compare(expected.iter().copied(), &list);
            let common = expected.intersection(&found).count();
            let wanted = if common == 0 { There::Nothing } else if common == expected.len() { There::All } else { There::Some };
            prop_assert_eq!(there, wanted);
        }
    }
}
