//! Groups dead letters that land together: those of one block of the dead-letter topic, by source and month.
//! It decodes each letter when it is added and keeps the rows by source. It performs no I/O.
//!
//! A block is a span of one partition of the dead-letter topic, bounded by its offsets and, if letters are large, by
//! their bytes. All of its letters count, regardless of the filter: so two replays form the same blocks, and
//! [`Group::state`] of a block is comparable between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::batch::rows::Rows;
use crate::dead_letter::letter::{Letter, Payload, Position, Source};
use crate::decode::{Decoder, Origin};

/// Maximum number of the dead-letter topic's offsets in a block, and thus of rows in an INSERT.
const OFFSETS_PER_BLOCK: i64 = 1000;
/// Bytes of payloads after which a block ends.
const BYTES_PER_BLOCK: usize = 8 << 20;

/// A span of the dead-letter topic.
#[derive(Debug)]
pub(super) struct Block {
    partition: i32,
    number: i64,
    /// Index of this block among those into which the byte limit split one span of offsets.
    part: u32,
    bytes: usize,
    /// The block's letters with their rows.
    pub(super) groups: BTreeMap<Arc<Source>, Group>,
    /// Selected letters that omit the payload.
    pub(super) without_payload: Vec<Letter>,
}

impl Block {
    fn new(partition: i32, number: i64, part: u32) -> Self {
        Self { partition, number, part, bytes: 0, groups: BTreeMap::new(), without_payload: Vec::new() }
    }

    /// The block that begins with the letter at `position`.
    pub(super) fn starting_at(position: Position) -> Self {
        Self::new(position.partition, position.offset / OFFSETS_PER_BLOCK, 0)
    }

    /// The block that follows this one with the letter at `position`; `None` if that letter belongs to this one.
    pub(super) fn next(&self, position: Position) -> Option<Self> {
        if (position.partition, position.offset / OFFSETS_PER_BLOCK) != (self.partition, self.number) {
            Some(Self::starting_at(position))
        } else if self.bytes >= BYTES_PER_BLOCK {
            Some(Self::new(self.partition, self.number, self.part + 1))
        } else {
            None
        }
    }

    /// Identifies the block within the topic.
    pub(super) fn label(&self) -> String {
        format!("{}-{}.{}", self.partition, self.number, self.part)
    }

    /// Counts a letter of this block, whether or not it is added.
    pub(super) fn count(&mut self, letter: &Letter) {
        if let Payload::Included(bytes) = letter.payload {
            self.bytes += bytes;
        }
    }

    /// The letters of a source.
    pub(super) fn group(&mut self, source: &Arc<Source>) -> &mut Group {
        self.groups.entry(Arc::clone(source)).or_default()
    }
}

/// The letters of one source in a block.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// In the order of the topic.
    pub(super) entries: Vec<Entry>,
}

/// A decoded letter.
#[derive(Debug)]
pub(super) struct Entry {
    /// Offset of the record.
    pub(super) offset: i64,
    /// Why it became a dead letter.
    pub(super) reason: String,
    /// Whether the filter matches the letter.
    pub(super) is_selected: bool,
    /// The record's row, or why the record still cannot land.
    pub(super) row: Result<Row, &'static str>,
}

/// A row of a group.
#[derive(Debug)]
pub(super) struct Row {
    /// Month of the table's partition key.
    pub(super) month: u32,
    /// The encoded row; empty for a letter that is not selected.
    row: Rows,
}

impl Group {
    /// Decodes a letter's payload. For a letter that is not selected only the month is kept.
    pub(super) fn push(&mut self, decoder: &mut Decoder, letter: &Letter, payload: Option<&[u8]>, is_selected: bool) {
        let Source { topic, topic_id, partition } = &*letter.source;
        let origin = Origin::new(topic, topic_id.unwrap_or_default(), *partition);
        let mut row = Vec::new();
        let outcome = decoder.decode(payload, &origin, letter.offset, &mut row);
        let row = if is_selected { Rows::one(row) } else { Rows::default() };
        let row = outcome.map(|decoded| Row { month: decoded.month, row });
        let row = row.map_err(|rejected| rejected.reason.code());
        self.entries.push(Entry { offset: letter.offset, reason: letter.reason.clone(), is_selected, row });
    }

    /// Offsets of all letters of the group.
    pub(super) fn offsets(&self) -> Vec<i64> {
        self.entries.iter().map(|entry| entry.offset).collect()
    }

    /// Months of the group's rows.
    pub(super) fn months(&self) -> BTreeSet<u32> {
        self.entries.iter().filter_map(|entry| Some(entry.row.as_ref().ok()?.month)).collect()
    }

    /// Letters whose rows belong to `month`.
    pub(super) fn of_month(&self, month: u32) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.row.as_ref().is_ok_and(|row| row.month == month))
    }

    /// Concatenates the rows of `entries`.
    pub(super) fn rows(entries: &[&Entry]) -> Rows {
        Rows::concat(entries.iter().filter_map(|entry| Some(&entry.row.as_ref().ok()?.row)))
    }

    /// The state of one month: a digest of its letters that are in the table, given the offsets `landed` (in order).
    pub(super) fn state(&self, month: u32, landed: &[i64]) -> u128 {
        let offsets: BTreeSet<_> = self.of_month(month).map(|entry| entry.offset).collect();
        let mut digest = Xxh3::new();
        for offset in offsets.iter().filter(|offset| landed.binary_search(offset).is_ok()) {
            digest.update(&offset.to_le_bytes());
        }
        digest.digest128()
    }
}

/// Splits rows that were refused together around the one at fault, or into halves if `at` does not name one.
pub(super) fn pieces<T: Copy>(rows: &[T], at: Option<usize>) -> Vec<Vec<T>> {
    let fault = at.filter(|at| *at < rows.len()).map_or([rows.len() / 2, rows.len()], |at| [at, at + 1]);
    let bounds = [0, fault[0], fault[1], rows.len()];
    bounds.windows(2).filter(|span| span[0] < span[1]).map(|span| rows[span[0]..span[1]].to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pipeline;
    use crate::dead_letter::letter::tests::letter;
    use crate::decode::table;
    use crate::decode::table::tests::shape;
    use proptest::prelude::*;
    use sluice_schemas::records::dead_letter_header as header;

    fn decoder() -> Decoder {
        let pipeline = Pipeline { table: "t".to_owned(), tenant: String::new(), ..Pipeline::default() };
        table::plan("events", &pipeline, &shape(&[("timestamp", "DateTime64(3, 'UTC')", "")])).unwrap().decoder
    }

    /// A group of letters with these offsets and months of 2026.
    fn group(letters: &[(i64, u32)], is_selected: bool) -> Group {
        let (mut group, mut decoder) = (Group::default(), decoder());
        for (offset, month) in letters {
            let letter = letter(&[(header::OFFSET, &offset.to_string())]).unwrap();
            let payload = format!(r#"{{"timestamp":"2026-{month:02}-01T00:00:00Z"}}"#);
            group.push(&mut decoder, &letter, Some(payload.as_bytes()), is_selected);
        }
        group
    }

    #[test]
    fn blocks_depend_only_on_the_topics_offsets() {
        let position = |partition, offset| Position { partition, offset };
        let block = Block::starting_at(position(1, 1999));
        assert_eq!(block.label(), "1-1.0");
        assert!(block.next(position(1, 1000)).is_none());
        assert_eq!(block.next(position(1, 2000)).unwrap().label(), "1-2.0");
        assert_eq!(block.next(position(2, 1999)).unwrap().label(), "2-1.0");
    }

    #[test]
    fn large_letters_also_end_a_block() {
        let mut block = Block::starting_at(Position { partition: 0, offset: 0 });
        let large = Letter { payload: Payload::Included(BYTES_PER_BLOCK), ..letter(&[]).unwrap() };
        block.count(&large);
        let next = block.next(Position { partition: 0, offset: 1 }).unwrap();
        assert_eq!(next.label(), "0-0.1");
        let without_payload = Letter { payload: Payload::Omitted(BYTES_PER_BLOCK), ..large };
        let mut block = Block::starting_at(Position { partition: 0, offset: 0 });
        block.count(&without_payload);
        assert!(block.next(Position { partition: 0, offset: 1 }).is_none(), "its payload is not in the letter");
    }

    #[test]
    fn rows_are_returned_by_month_in_order() {
        let group = group(&[(5, 1), (9, 2), (7, 1)], true);
        assert_eq!(group.months(), BTreeSet::from([202_601, 202_602]));
        let rows: Vec<_> = group.of_month(202_601).collect();
        assert_eq!(rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [5, 7]);
        let [both, first] = [&rows[..], &rows[..1]].map(|rows| Group::rows(rows).body().to_vec());
        assert_eq!((both.len(), &both[..first.len()]), (first.len() * 2, &first[..]));
    }

    #[test]
    fn the_state_depends_on_one_month_and_not_on_the_filter() {
        let (selected, other) = (group(&[(5, 1), (9, 2), (7, 1)], true), group(&[(7, 1), (5, 1), (9, 2)], false));
        assert_eq!(selected.state(202_601, &[5, 9]), other.state(202_601, &[5]));
        assert_ne!(selected.state(202_601, &[5]), selected.state(202_601, &[7]));
        assert_ne!(selected.state(202_601, &[]), selected.state(202_601, &[7]));
        assert_eq!(selected.state(202_601, &[]), selected.state(202_601, &[9, 11]));
        assert_eq!(Group::rows(&other.of_month(202_601).collect::<Vec<_>>()), Rows::default());
    }

    #[test]
    fn an_undecodable_letter_has_its_current_reason() {
        let (mut group, mut decoder) = (Group::default(), decoder());
        group.push(&mut decoder, &letter(&[]).unwrap(), None, true);
        assert_eq!(group.entries[0].row.as_ref().unwrap_err(), &"tombstone");
        assert!(group.months().is_empty());
    }

    proptest! {
        #[test]
        fn pieces_are_smaller_and_complete(count in 2_usize..50, at in proptest::option::of(0_usize..60)) {
            let rows: Vec<_> = (0..count).collect();
            let pieces = pieces(&rows, at);
            prop_assert_eq!(pieces.concat(), rows);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() < count));
            prop_assert!(at.is_none_or(|at| at >= count || pieces.contains(&vec![at])));
        }
    }
}
