//! A change of a group's offset, and the description of its metadata. It performs no I/O.

use super::error::Error;
use crate::clock;
use crate::exactly_once::intent::{Doubt, Intent};
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::watermarks::Watermarks;

/// The offset that `set` commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The start of the log.
    Start,
    /// The end of the log.
    End,
    /// This offset.
    Offset(i64),
}

/// An offset to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Topic with its namespace.
    pub topic: String,
    /// Partition of the topic.
    pub partition: i32,
    /// The group's current offset.
    pub from: Option<i64>,
    /// The new offset.
    pub to: i64,
    /// First offset that no worker consumes because of the change, if any; workers consume from `to` on.
    pub skips_from: Option<i64>,
    pub(super) metadata: String,
}

/// The change of a partition's offset to `to`; fails if the log does not hold it.
pub(super) fn change(
    topic: &str,
    partition: i32,
    partition_offsets: &PartitionOffsets,
    to: i64,
    metadata: String,
) -> Result<Change, Error> {
    let PartitionOffsets { committed, bounds: Watermarks { low, high, .. }, .. } = *partition_offsets;
    if to < low || to > high {
        return Err(Error::OutOfLog { offset: to, low, high });
    }
    let next = committed.unwrap_or(low);
    let skips_from = (next < to).then_some(next);
    Ok(Change { topic: topic.to_owned(), partition, from: committed, to, skips_from, metadata })
}

/// Describes the metadata of a committed offset, as of `now` (seconds since 1970).
pub fn describe_metadata(partition_offsets: &PartitionOffsets, now: u64) -> String {
    if partition_offsets.committed.is_none() {
        return "-".to_owned();
    }
    if partition_offsets.metadata.is_empty() {
        return "none: looked up before writing".to_owned();
    }
    let Some(Intent { announced_at, ranges, .. }) = Intent::parse(&partition_offsets.metadata) else {
        return "written by another program: looked up before writing".to_owned();
    };
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return "nothing announced".to_owned() };
    let age = clock::age(announced_at, now)
        .map_or("at a time in the future".to_owned(), |age| format!("{} s ago", age.as_secs()));
    let in_doubt = ranges.iter().filter(|announced| announced.doubt != Doubt::No).count();
    let doubt = if in_doubt > 0 { format!(", {in_doubt} to be looked up") } else { String::new() };
    let count = ranges.len();
    let announced = if count == 1 { "1 range".to_owned() } else { format!("{count} ranges") };
    format!("{announced} announced, {} to {}, {age}{doubt}", first.range.first, last.range.last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition_offsets(committed: Option<i64>, metadata: &str) -> PartitionOffsets {
        PartitionOffsets {
            committed,
            metadata: metadata.to_owned(),
            bounds: Watermarks { low: 10, stable: 20, high: 20 },
        }
    }

    #[test]
    fn a_change_stays_within_the_log_and_states_what_it_skips() {
        let to = |committed, to| change("t", 0, &partition_offsets(committed, ""), to, String::new());
        assert_eq!(to(Some(12), 11).unwrap().skips_from, None);
        assert_eq!(to(Some(12), 12).unwrap().skips_from, None);
        assert_eq!(to(Some(12), 20).unwrap().skips_from, Some(12));
        assert_eq!(to(None, 10).unwrap().skips_from, None);
        assert_eq!(to(None, 15).unwrap().skips_from, Some(10));
        insta::assert_snapshot!(to(None, 9).unwrap_err(), @"use offset 9: the log holds 10 to 20; name one of these offsets, or a worker stops at once");
        assert!(to(None, 21).is_err());
    }

    #[test]
    fn the_metadata_of_an_offset_is_described() {
        let describe = |text: &str| describe_metadata(&partition_offsets(Some(12), text), 100);
        assert_eq!(describe_metadata(&partition_offsets(None, ""), 100), "-");
        assert_eq!(describe(""), "none: looked up before writing");
        assert_eq!(describe("{}"), "written by another program: looked up before writing");
        assert_eq!(describe("sluice2 000000000000001f 70"), "nothing announced");
        let digest = "0".repeat(32);
        let one_range = format!("sluice2 000000000000001f 70 12+8:{digest}");
        assert_eq!(describe(&one_range), "1 range announced, 12 to 20, 30 s ago");
        let future = one_range.replace(" 70 ", " 170 ");
        assert_eq!(describe(&future), "1 range announced, 12 to 20, at a time in the future");
        assert_eq!(
            describe(&format!("{one_range} 21+0:{digest}?")),
            "2 ranges announced, 12 to 21, 30 s ago, 1 to be looked up"
        );
    }
}
