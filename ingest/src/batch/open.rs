//! A batch that accepts records. Clocked by the caller; it acquires bytes from the budget as it grows, and never waits for
//! them.

use std::time::Instant;

use sluice_schemas::records::DeadLetter;

use super::budget::{Permit, letter_bytes};
use super::digest::{RecordDigest, digest};
use super::limits::{Backlog, Limits, SealReason};
use super::part::Part;
use super::rows::{OpenRows, to_u32};
use super::sealed::Batch;
use crate::exactly_once::intent::Doubt;
use crate::exactly_once::range::Range;

/// Number of records by which the list of records grows.
const RECORDS_STEP: usize = 1024;
/// Bytes that a part needs for each row in addition to the row: the index of its record, and its end.
const ROW_OVERHEAD: usize = 2 * size_of::<u32>();

#[derive(Debug)]
struct OpenPart {
    month: u32,
    records: Vec<u32>,
    rows: OpenRows,
}

/// A batch that accepts records.
#[derive(Debug)]
pub struct OpenBatch {
    records: Vec<RecordDigest>,
    parts: Vec<OpenPart>,
    bytes: usize,
    /// Bytes of all records but the last.
    bytes_before: usize,
    dead_letters: Vec<DeadLetter>,
    opened: Instant,
    permit: Permit,
}

impl OpenBatch {
    /// Creates a batch without records.
    pub fn open(now: Instant, permit: Permit) -> Self {
        let (records, parts, dead_letters) = (Vec::new(), Vec::new(), Vec::new());
        Self { records, parts, bytes: 0, bytes_before: 0, dead_letters, opened: now, permit }
    }

    /// Adds a record. Its row or its dead letter is pushed next, if it has one.
    pub fn begin_record(&mut self, offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) {
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact(RECORDS_STEP);
            self.permit.grow(RECORDS_STEP * (size_of::<RecordDigest>() + ROW_OVERHEAD));
        }
        self.records.push(RecordDigest::new(offset, key, payload));
        self.bytes_before = self.bytes;
    }

    /// Adds the row of the last record.
    pub fn push_row(&mut self, month: u32, row: &[u8]) {
        let index = self.parts.iter().rposition(|part| part.month == month).unwrap_or_else(|| {
            self.parts.push(OpenPart { month, records: Vec::new(), rows: OpenRows::new(self.permit.pool()) });
            self.parts.len() - 1
        });
        let part = &mut self.parts[index];
        self.permit.grow(part.rows.push(row));
        part.records.push(to_u32(self.records.len() - 1));
        self.bytes += row.len();
    }

    /// Adds the dead letter of the last record, which cannot land.
    pub fn push_dead_letter(&mut self, letter: DeadLetter) {
        let bytes = letter_bytes(&letter);
        self.permit.grow(bytes);
        self.bytes += bytes;
        self.dead_letters.push(letter);
    }

    /// The offset of the last record.
    pub fn last(&self) -> Option<i64> {
        self.records.last().map(|record| record.offset)
    }

    /// The reason to seal it now, if there is one, while no other batch of its partition is in flight.
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

    /// The reason to seal it now, if there is one, while another batch of its partition is in flight. Sealing it before that
    /// batch is written gains nothing, so it may grow to `allowance`.
    pub fn seal_reason_in_backlog(&self, limits: &Limits, allowance: &Backlog) -> Option<SealReason> {
        if self.records.len() >= allowance.rows || self.bytes >= allowance.bytes {
            let is_grown = self.records.len() > limits.rows || self.bytes_before >= limits.bytes;
            let usual = if self.records.len() >= limits.rows { SealReason::Rows } else { SealReason::Bytes };
            Some(if is_grown { SealReason::Backlog } else { usual })
        } else if self.parts.len() >= limits.months {
            Some(SealReason::Months)
        } else {
            None
        }
    }

    /// Bytes of its rows and dead letters.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Seals it; `None` if it has no records. `announced` is its range if that was announced earlier: records at either end
    /// may have been compacted away since then.
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
    fn the_digest_covers_every_byte_and_every_boundary() {
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
    fn buffers_grow_in_small_steps_first_and_in_bounded_steps_later() {
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
        assert_eq!(grown(&vec![0; 700 << 10]), 1300 + 700 - 1536, "a large row gets a chunk of its own size");
    }
}
