//! A sealed batch: it accepts no more records.
//! A part can be recreated without some of its rows: the batch keeps the offset of each record and a digest of its raw key and
//! payload, but not the raw bytes. Pure.

use std::time::Instant;

use sluice_schemas::records::DeadLetter;

use super::budget::Permit;
use super::digest::{RecordDigest, digest};
use super::part::Part;
use crate::exactly_once::intent::{Announced, Doubt};
use crate::exactly_once::range::Range;

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    /// Its offset range.
    pub range: Range,
    pub(super) records: Vec<RecordDigest>,
    /// Digest of the offsets, raw keys and payloads of all its records, including dead letters. It does not depend on the
    /// encoding.
    pub digest: u128,
    /// Its rows, one part per month.
    pub parts: Vec<Part>,
    /// The dead letters of its records that cannot land.
    pub dead_letters: Vec<DeadLetter>,
    /// Whether its rows have to be looked up in the table before they are sent.
    pub doubt: Doubt,
    /// Whether its views may lack it if its rows are found in the table.
    pub may_be_incomplete: bool,
    /// When it was created, for its first record.
    pub opened: Instant,
    /// Its bytes in the budget, released when it is dropped.
    pub permit: Permit,
}

impl Batch {
    /// Number of records, including those without a row.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Number of records with neither a row nor a dead letter here, because an earlier owner dead-lettered them.
    pub fn dead_lettered_before(&self) -> usize {
        self.records() - self.rows() - self.dead_letters.len()
    }

    /// Number of rows in all parts.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(Part::count).sum()
    }

    /// Number of bytes in all rows.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.rows.bytes()).sum()
    }

    /// Its announcement.
    pub fn announcement(&self) -> Announced {
        Announced { range: self.range, digest: self.digest, doubt: self.doubt }
    }

    /// Offsets of a part's rows, in order.
    pub fn offsets<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = i64> + 'a {
        part.records.iter().map(|record| self.records[*record as usize].offset)
    }

    /// Digest of the offsets, raw keys and payloads of a part's records. It does not depend on other parts, or on rows that
    /// were removed from this one.
    pub fn digest_of(&self, part: &Part) -> u128 {
        digest(part.records.iter().map(|record| &self.records[*record as usize]))
    }

    /// A copy of a part without the rows at `offsets`, which have to be in ascending order.
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

    /// A batch with one record, and one row, for each of `months`. Each byte of a row is the record's number.
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
    fn removed_rows_change_only_the_digest_of_their_own_part() {
        let batch = batch_of(&[1, 1, 2, 1, 2, 1]);
        let kept = batch.without(&batch.parts[0], &[0, 9]);
        assert_eq!(
            (batch.offsets(&kept).collect::<Vec<_>>(), kept.rows.body().to_vec()),
            (vec![3, 15], vec![1, 1, 5, 5])
        );
        assert_ne!(batch.digest_of(&kept), batch.digest_of(&batch.parts[0]));
        assert_eq!(batch.without(&batch.parts[1], &[0, 9]), batch.parts[1]);
        let single = batch_of(&[1, 1, 1]);
        assert_eq!(single.digest_of(&single.parts[0]), single.digest, "for the only part of a batch");
    }
}
