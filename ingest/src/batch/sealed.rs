//! A sealed batch: it takes no more records in, and lands as a whole.
//! Rows can be set aside from a part: a batch remembers of each record the offset and a digest of the raw key and payload,
//! though the raw bytes themselves are gone. Pure.

use std::time::Instant;

use sluice_schemas::records::DeadLetter;

use super::budget::Permit;
use super::digest::{Taken, digest};
use super::part::Part;
use crate::exactly_once::intent::{Announced, Doubt};
use crate::exactly_once::range::Range;

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    /// Its offsets.
    pub range: Range,
    pub(super) records: Vec<Taken>,
    /// Digest of the offsets, raw keys and payloads of all its records, whatever became of each; it does not change with the
    /// encoding.
    pub digest: u128,
    /// Its rows, by month.
    pub parts: Vec<Part>,
    /// Its records that cannot land.
    pub dead_letters: Vec<DeadLetter>,
    /// Whether it has to be looked up in its table before it is sent.
    pub doubt: Doubt,
    /// Whether, if it turns out to be there already, its views may still lack it.
    pub may_be_incomplete: bool,
    /// When its first record was taken in.
    pub opened: Instant,
    /// Its bytes in the budget; given back when it is dropped.
    pub permit: Permit,
}

impl Batch {
    /// How many records were consumed into it.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// How many have neither a row nor a dead letter here, since an earlier owner has dead-lettered them.
    pub fn dead_lettered_before(&self) -> usize {
        self.records() - self.rows() - self.dead_letters.len()
    }

    /// How many rows all parts have together.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(Part::count).sum()
    }

    /// How many bytes all rows have together.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.rows.bytes()).sum()
    }

    /// How it is announced.
    pub fn announcement(&self) -> Announced {
        Announced { range: self.range, digest: self.digest, doubt: self.doubt }
    }

    /// Offsets of a part's rows, in order.
    pub fn offsets<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = i64> + 'a {
        part.records.iter().map(|record| self.records[*record as usize].offset)
    }

    /// Digest of the offsets, raw keys and payloads of a part's own records. Other parts, and what was set aside, do not
    /// change it.
    pub fn digest_of(&self, part: &Part) -> u128 {
        digest(part.records.iter().map(|record| &self.records[*record as usize]))
    }

    /// The rows of a part whose offsets are not among `offsets` (in order), as a part of its own.
    pub fn without(&self, part: &Part, offsets: &[i64]) -> Part {
        let is_kept = |record: u32| offsets.binary_search(&self.records[record as usize].offset).is_err();
        Part {
            month: part.month,
            records: part.records.iter().copied().filter(|record| is_kept(*record)).collect(),
            rows: part.rows.select(|row| is_kept(part.records[row])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::OpenBatch;
    use super::*;
    use crate::batch::budget::Budget;

    /// A batch of `months.len()` records with one row each, the record's number as its row.
    fn batch_of(months: &[u32]) -> Batch {
        let budget = Budget::new(1 << 30, 1);
        let mut open = OpenBatch::open(Instant::now(), budget.permit(0));
        for (number, month) in (0_u8..).zip(months) {
            open.begin_record(i64::from(number) * 3, None, Some(&[number]));
            open.push_row(*month, &vec![number; 1 + usize::from(number % 4)]);
        }
        open.seal(None).unwrap()
    }

    #[test]
    fn rows_that_are_set_aside_change_the_digest_of_their_own_part_only() {
        let batch = batch_of(&[1, 1, 2, 1, 2, 1]);
        let kept = batch.without(&batch.parts[0], &[0, 9]);
        assert_eq!(
            (batch.offsets(&kept).collect::<Vec<_>>(), kept.rows.body().to_vec()),
            (vec![3, 15], vec![1, 1, 5, 5])
        );
        assert_ne!(batch.digest_of(&kept), batch.digest_of(&batch.parts[0]));
        assert_eq!(batch.without(&batch.parts[1], &[0, 9]), batch.parts[1]);
        let alone = batch_of(&[1, 1, 1]);
        assert_eq!(alone.digest_of(&alone.parts[0]), alone.digest, "where it is all there is");
    }
}
