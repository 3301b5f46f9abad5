//! A batch that takes records in. Clocked by the caller; it takes bytes from the budget as it grows, and pauses nobody.

use std::time::Instant;

use sluice_schemas::records::DeadLetter;

use super::budget::{Permit, letter_bytes};
use super::digest::{Taken, digest};
use super::limits::{Backlog, Limits, SealReason};
use super::part::Part;
use super::rows::{OpenRows, narrow};
use super::sealed::Batch;
use crate::exactly_once::intent::Doubt;
use crate::exactly_once::range::Range;

/// Step by which the list of records grows.
const RECORDS_STEP: usize = 1024;
/// Bytes that a row takes in a part besides its own: the index of its record, and where it ends.
const ROW_BYTES: usize = 2 * size_of::<u32>();

#[derive(Debug)]
struct OpenPart {
    month: u32,
    records: Vec<u32>,
    rows: OpenRows,
}

/// A batch that takes records in.
#[derive(Debug)]
pub struct OpenBatch {
    records: Vec<Taken>,
    parts: Vec<OpenPart>,
    bytes: usize,
    /// Bytes of all records but the last.
    bytes_before: usize,
    dead_letters: Vec<DeadLetter>,
    opened: Instant,
    permit: Permit,
}

impl OpenBatch {
    /// Opens a batch; its first record follows.
    pub fn open(now: Instant, permit: Permit) -> Self {
        let (records, parts, dead_letters) = (Vec::new(), Vec::new(), Vec::new());
        Self { records, parts, bytes: 0, bytes_before: 0, dead_letters, opened: now, permit }
    }

    /// Takes note of a record before its row or its dead letter is pushed.
    pub fn begin_record(&mut self, offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) {
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact(RECORDS_STEP);
            self.permit.grow(RECORDS_STEP * (size_of::<Taken>() + ROW_BYTES));
        }
        self.records.push(Taken::new(offset, key, payload));
        self.bytes_before = self.bytes;
    }

    /// Takes the row of the record in that was noted last.
    pub fn push_row(&mut self, month: u32, row: &[u8]) {
        let index = self.parts.iter().rposition(|part| part.month == month).unwrap_or_else(|| {
            self.parts.push(OpenPart { month, records: Vec::new(), rows: OpenRows::new(self.permit.pool()) });
            self.parts.len() - 1
        });
        let part = &mut self.parts[index];
        self.permit.grow(part.rows.push(row));
        part.records.push(narrow(self.records.len() - 1));
        self.bytes += row.len();
    }

    /// Takes the record in that was noted last and cannot land.
    pub fn push_dead_letter(&mut self, letter: DeadLetter) {
        let bytes = letter_bytes(&letter);
        self.permit.grow(bytes);
        self.bytes += bytes;
        self.dead_letters.push(letter);
    }

    /// Offset of the record that was noted last.
    pub fn last(&self) -> Option<i64> {
        self.records.last().map(|record| record.offset)
    }

    /// Whether it has to be sealed now, and why, where nothing else of its partition is under way.
    pub fn seal_reason(&self, limits: &Limits, now: Instant) -> Option<SealReason> {
        if self.records.len() > limits.rows || self.bytes_before >= limits.bytes {
            Some(SealReason::Backlog)
        } else if self.records.len() >= limits.rows {
            Some(SealReason::Rows)
        } else if self.bytes >= limits.bytes {
            Some(SealReason::Bytes)
        } else if self.parts.len() >= limits.months {
            Some(SealReason::Months)
        } else if now.saturating_duration_since(self.opened) >= limits.age {
            Some(SealReason::Age)
        } else {
            None
        }
    }

    /// Whether it has to be sealed now, and why, where another batch of its partition is under way: nothing is gained by
    /// sealing it before that one has ended, so it grows up to `most` records and bytes.
    pub fn seal_reason_in_backlog(&self, limits: &Limits, most: &Backlog) -> Option<SealReason> {
        if self.records.len() >= most.rows || self.bytes >= most.bytes {
            let is_grown = self.records.len() > limits.rows || self.bytes_before >= limits.bytes;
            let usual = if self.records.len() >= limits.rows { SealReason::Rows } else { SealReason::Bytes };
            Some(if is_grown { SealReason::Backlog } else { usual })
        } else if self.parts.len() >= limits.months {
            Some(SealReason::Months)
        } else {
            None
        }
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Closes it for good; `None` if no record was ever taken in. `announced` is the range under which it is known
    /// already: records at its ends may have been compacted away since.
    pub fn seal(self, announced: Option<Range>) -> Option<Batch> {
        let (first, last) = (self.records.first()?.offset, self.records.last()?.offset);
        let part = |part: OpenPart| Part { month: part.month, records: part.records, rows: part.rows.seal() };
        Some(Batch {
            range: announced.unwrap_or(Range { first, last }),
            digest: digest(&self.records),
            records: self.records,
            parts: self.parts.into_iter().map(part).collect(),
            dead_letters: self.dead_letters,
            doubt: Doubt::No,
            may_be_incomplete: false,
            opened: self.opened,
            permit: self.permit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::budget::Budget;

    #[test]
    fn the_digest_sees_every_byte_and_every_boundary() {
        let digest = |key, payload| {
            let mut batch = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
            batch.begin_record(0, key, payload);
            batch.seal(None).unwrap().digest
        };
        let one = digest(Some(b"ab"), Some(b"c"));
        assert_eq!(one, digest(Some(b"ab"), Some(b"c")));
        assert_ne!(one, digest(Some(b"a"), Some(b"bc")));
        assert_ne!(digest(None, Some(b"")), digest(Some(b""), None));
        assert_ne!(digest(None, None), digest(Some(b""), None));
        assert_ne!(digest(None, None), digest(None, Some(b"")));
        assert_ne!(digest(Some(b""), Some(b"ab")), digest(Some(b"ab"), Some(b"")));
    }

    #[test]
    fn buffers_grow_in_small_steps_at_first_and_in_bounded_ones_later() {
        let mut open = OpenBatch::open(Instant::now(), Budget::new(1 << 30, 1).permit(0));
        open.begin_record(0, None, None);
        assert_eq!(open.permit.bytes(), 24 << 10, "1,024 records of 24 bytes");
        let mut grown = |row: &[u8]| {
            let before = open.permit.bytes();
            open.push_row(1, row);
            (open.permit.bytes() - before) >> 10
        };
        let steps: Vec<_> = (0..1300).map(|_| grown(&[0; 1024])).filter(|grown| *grown > 0).collect();
        assert_eq!(steps, [16, 16, 32, 64, 128, 256, 256, 256, 256, 256], "KiB");
        assert_eq!(grown(&vec![0; 700 << 10]), 1300 + 700 - 1536, "a large row takes no more than it needs");
    }
}
