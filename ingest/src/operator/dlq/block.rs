//! Which dead letters land together: those of one stretch of the dead-letter topic, by source and month.
//! Letters go in and are decoded at once; their rows stay, by source. No I/O.
//!
//! A block is a stretch of one partition of the dead-letter topic, cut by its offsets and, where letters are large, by
//! their bytes. All of its letters count, whatever the filter: so two replays cut the same blocks, and what
//! [`Group::state`] says of a block can be compared between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::batch::rows::Rows;
use crate::dead_letter::letter::{Letter, Payload, Place, Source};
use crate::decode::{Decoder, Origin};

/// Offsets of the dead-letter topic in a block, and so rows in an INSERT, at most.
const OFFSETS: i64 = 1000;
/// Bytes of payloads after which a block is cut.
const BYTES: usize = 8 << 20;

/// A stretch of the dead-letter topic.
#[derive(Debug)]
pub(super) struct Block {
    partition: i32,
    number: i64,
    /// Counts the blocks that bytes have cut out of one stretch.
    cut: u32,
    bytes: usize,
    /// Its letters with their rows.
    pub(super) groups: BTreeMap<Arc<Source>, Group>,
    /// Those that are meant and whose payloads are elsewhere.
    pub(super) left_out: Vec<Letter>,
}

impl Block {
    fn new(partition: i32, number: i64, cut: u32) -> Self {
        Self { partition, number, cut, bytes: 0, groups: BTreeMap::new(), left_out: Vec::new() }
    }

    /// The block that begins with the letter at `place`.
    pub(super) fn at(place: Place) -> Self {
        Self::new(place.partition, place.offset / OFFSETS, 0)
    }

    /// The block that follows this one with the letter at `place`; nothing if that letter belongs to this one.
    pub(super) fn next(&self, place: Place) -> Option<Self> {
        if (place.partition, place.offset / OFFSETS) != (self.partition, self.number) {
            Some(Self::at(place))
        } else if self.bytes >= BYTES {
            Some(Self::new(self.partition, self.number, self.cut + 1))
        } else {
            None
        }
    }

    /// What tells it from every other block of the topic.
    pub(super) fn label(&self) -> String {
        format!("{}-{}.{}", self.partition, self.number, self.cut)
    }

    /// Counts a letter that stands in it, whether or not it is pushed.
    pub(super) fn pass(&mut self, letter: &Letter) {
        if let Payload::Here(bytes) = letter.payload {
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

/// A letter, decoded again.
#[derive(Debug)]
pub(super) struct Entry {
    /// Offset of its record.
    pub(super) offset: i64,
    /// Why it became a dead letter.
    pub(super) reason: String,
    /// Whether the filter takes it.
    pub(super) is_selected: bool,
    /// Its row, or why there is still none.
    pub(super) row: Result<Row, &'static str>,
}

/// A row of a group.
#[derive(Debug)]
pub(super) struct Row {
    /// Month of the table's partition key.
    pub(super) month: u32,
    /// The row itself; nothing of a letter that is not meant.
    row: Rows,
}

impl Group {
    /// Decodes a letter's payload. Of a letter that is not meant only the month is kept.
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

    /// Offsets of all its letters.
    pub(super) fn offsets(&self) -> Vec<i64> {
        self.entries.iter().map(|entry| entry.offset).collect()
    }

    /// Months of its rows.
    pub(super) fn months(&self) -> BTreeSet<u32> {
        self.entries.iter().filter_map(|entry| Some(entry.row.as_ref().ok()?.month)).collect()
    }

    /// Its letters whose rows belong to a month.
    pub(super) fn of_month(&self, month: u32) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.row.as_ref().is_ok_and(|row| row.month == month))
    }

    /// The rows of these letters.
    pub(super) fn rows(entries: &[&Entry]) -> Rows {
        Rows::concat(entries.iter().filter_map(|entry| Some(&entry.row.as_ref().ok()?.row)))
    }

    /// How far a month of it has come: a digest of those of its letters that are in the table, where `present` (in order)
    /// says which are.
    pub(super) fn state(&self, month: u32, present: &[i64]) -> u128 {
        let there: BTreeSet<_> = self.of_month(month).map(|entry| entry.offset).collect();
        let mut digest = Xxh3::new();
        for offset in there.iter().filter(|offset| present.binary_search(offset).is_ok()) {
            digest.update(&offset.to_le_bytes());
        }
        digest.digest128()
    }
}

/// Cuts rows that were refused together around the one at fault, or in halves where `at` does not say which it is.
pub(super) fn pieces<T: Copy>(rows: &[T], at: Option<usize>) -> Vec<Vec<T>> {
    let cuts = at.filter(|at| *at < rows.len()).map_or([rows.len() / 2, rows.len()], |at| [at, at + 1]);
    let edges = [0, cuts[0], cuts[1], rows.len()];
    edges.windows(2).filter(|edge| edge[0] < edge[1]).map(|edge| rows[edge[0]..edge[1]].to_vec()).collect()
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

    /// A group of letters at these offsets and months of 2026.
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
    fn blocks_are_cut_by_the_topics_offsets_whoever_reads_them() {
        let place = |partition, offset| Place { partition, offset };
        let block = Block::at(place(1, 1999));
        assert_eq!(block.label(), "1-1.0");
        assert!(block.next(place(1, 1000)).is_none());
        assert_eq!(block.next(place(1, 2000)).unwrap().label(), "1-2.0");
        assert_eq!(block.next(place(2, 1999)).unwrap().label(), "2-1.0");
    }

    #[test]
    fn large_letters_cut_a_block_too() {
        let mut block = Block::at(Place { partition: 0, offset: 0 });
        let large = Letter { payload: Payload::Here(BYTES), ..letter(&[]).unwrap() };
        block.pass(&large);
        let next = block.next(Place { partition: 0, offset: 1 }).unwrap();
        assert_eq!(next.label(), "0-0.1");
        let elsewhere = Letter { payload: Payload::LeftOut(BYTES), ..large };
        let mut block = Block::at(Place { partition: 0, offset: 0 });
        block.pass(&elsewhere);
        assert!(block.next(Place { partition: 0, offset: 1 }).is_none(), "its payload is not here");
    }

    #[test]
    fn rows_are_found_again_by_month_and_in_order() {
        let group = group(&[(5, 1), (9, 2), (7, 1)], true);
        assert_eq!(group.months(), BTreeSet::from([202_601, 202_602]));
        let rows: Vec<_> = group.of_month(202_601).collect();
        assert_eq!(rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [5, 7]);
        let [both, first] = [&rows[..], &rows[..1]].map(|rows| Group::rows(rows).body().to_vec());
        assert_eq!((both.len(), &both[..first.len()]), (first.len() * 2, &first[..]));
    }

    #[test]
    fn the_state_is_of_one_month_and_does_not_depend_on_what_is_meant() {
        let (meant, other) = (group(&[(5, 1), (9, 2), (7, 1)], true), group(&[(7, 1), (5, 1), (9, 2)], false));
        assert_eq!(meant.state(202_601, &[5, 9]), other.state(202_601, &[5]));
        assert_ne!(meant.state(202_601, &[5]), meant.state(202_601, &[7]));
        assert_ne!(meant.state(202_601, &[]), meant.state(202_601, &[7]));
        assert_eq!(meant.state(202_601, &[]), meant.state(202_601, &[9, 11]));
        assert_eq!(Group::rows(&other.of_month(202_601).collect::<Vec<_>>()), Rows::default());
    }

    #[test]
    fn what_still_cannot_be_decoded_has_its_present_reason() {
        let (mut group, mut decoder) = (Group::default(), decoder());
        group.push(&mut decoder, &letter(&[]).unwrap(), None, true);
        assert_eq!(group.entries[0].row.as_ref().unwrap_err(), &"tombstone");
        assert!(group.months().is_empty());
    }

    proptest! {
        #[test]
        fn pieces_are_smaller_and_together_the_whole(count in 2_usize..50, at in proptest::option::of(0_usize..60)) {
            let rows: Vec<_> = (0..count).collect();
            let pieces = pieces(&rows, at);
            prop_assert_eq!(pieces.concat(), rows);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() < count));
            prop_assert!(at.is_none_or(|at| at >= count || pieces.contains(&vec![at])));
        }
    }
}
