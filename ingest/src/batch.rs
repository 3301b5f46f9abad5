//! Stage three: records of one topic partition become batches.
//! Rows and dead letters go in with their offsets; a sealed [`Batch`] comes out: one contiguous offset range, its rows
//! divided by month. Clocked by the caller, no I/O. It never mixes partitions and never leaves an offset out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_schemas::records::DeadLetter;
use xxhash_rust::xxh3::Xxh3;

use crate::budget::Permit;
use crate::commit::Range;

/// Most months in a batch: each is an INSERT of its own.
const MOST_MONTHS: usize = 12;
/// Smallest and largest step by which a buffer grows, in bytes. Small steps keep the budget honest.
const STEP: std::ops::RangeInclusive<usize> = 16 * 1024..=256 * 1024;

/// When a batch is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records.
    pub rows: usize,
    /// Most encoded bytes.
    pub bytes: usize,
    /// Longest time since its first record.
    pub age: Duration,
}

/// Why a batch was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// It has all the records it may have.
    Rows,
    /// It has all the bytes it may have.
    Bytes,
    /// It waited long enough.
    Age,
    /// Its rows are of too many months.
    Months,
    /// Memory is short.
    Pressure,
    /// The worker is shutting down.
    Drain,
}

impl Cut {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Months => "months",
            Self::Pressure => "pressure",
            Self::Drain => "drain",
        }
    }
}

/// Good rows of one month: one INSERT, one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Month of the table's partition key, 202611; 0 where the table has no partitions.
    pub month: u32,
    /// How many rows.
    pub rows: usize,
    /// The rows in RowBinary.
    pub body: Bytes,
}

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    /// Its offsets.
    pub range: Range,
    /// How many records were consumed into it.
    pub records: u64,
    /// Digest of the raw keys and payloads of all its records; it does not change with the encoding.
    pub digest: u128,
    /// Its rows, by month.
    pub parts: Vec<Part>,
    /// Its records that cannot land.
    pub dead_letters: Vec<DeadLetter>,
    /// When its first record was taken in.
    pub opened: Instant,
    /// Its bytes in the budget; given back when the batch is dropped.
    pub permit: Permit,
}

impl Batch {
    /// How many rows all parts have together.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

/// Digest of the records so far.
struct Digest(Box<Xxh3>);

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest")
    }
}

#[derive(Debug)]
struct OpenPart {
    month: u32,
    rows: usize,
    body: Vec<u8>,
}

/// A batch that takes records in.
#[derive(Debug)]
pub struct OpenBatch {
    range: Range,
    records: u64,
    digest: Digest,
    parts: Vec<OpenPart>,
    bytes: usize,
    dead_letters: Vec<DeadLetter>,
    opened: Instant,
    permit: Permit,
}

impl OpenBatch {
    /// Opens a batch with the record at `offset` as its first; the record itself follows.
    pub fn open(offset: i64, now: Instant, permit: Permit) -> Self {
        Self {
            range: Range { first: offset, last: offset },
            records: 0,
            digest: Digest(Box::new(Xxh3::new())),
            parts: Vec::new(),
            bytes: 0,
            dead_letters: Vec::new(),
            opened: now,
            permit,
        }
    }

    /// Takes note of a record before its row or its dead letter is pushed.
    pub fn note(&mut self, offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) {
        self.range.last = offset;
        self.records += 1;
        for bytes in [key, payload] {
            // The length, or all ones for null, keeps ("ab", "c") and ("a", "bc") apart.
            self.digest.0.update(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            self.digest.0.update(bytes.unwrap_or_default());
        }
    }

    /// Takes a row in.
    pub fn push_row(&mut self, month: u32, row: &[u8]) {
        let index = self.parts.iter().rposition(|part| part.month == month).unwrap_or_else(|| {
            self.parts.push(OpenPart { month, rows: 0, body: Vec::new() });
            self.parts.len() - 1
        });
        let part = &mut self.parts[index];
        let before = part.body.capacity();
        if before - part.body.len() < row.len() {
            part.body.reserve_exact(row.len().max(before.clamp(*STEP.start(), *STEP.end())));
            self.permit.grow(part.body.capacity() - before);
        }
        part.body.extend_from_slice(row);
        part.rows += 1;
        self.bytes += row.len();
    }

    /// Takes a record in that cannot land.
    pub fn push_dead_letter(&mut self, letter: DeadLetter) {
        let headers: usize = letter.headers.iter().map(|(name, value)| name.len() + length(value.as_ref())).sum();
        let bytes = length(letter.key.as_ref()) + length(letter.payload.as_ref()) + headers + size_of::<DeadLetter>();
        self.permit.grow(bytes);
        self.bytes += bytes;
        self.dead_letters.push(letter);
    }

    /// Whether it has to be sealed now, and why.
    pub fn cut(&self, limits: &Limits, now: Instant) -> Option<Cut> {
        if self.records >= limits.rows as u64 {
            Some(Cut::Rows)
        } else if self.bytes >= limits.bytes {
            Some(Cut::Bytes)
        } else if self.parts.len() >= MOST_MONTHS {
            Some(Cut::Months)
        } else if now.saturating_duration_since(self.opened) >= limits.age {
            Some(Cut::Age)
        } else {
            None
        }
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Closes it for good.
    pub fn seal(self) -> Batch {
        let part = |part: OpenPart| Part { month: part.month, rows: part.rows, body: part.body.into() };
        Batch {
            range: self.range,
            records: self.records,
            digest: self.digest.0.digest128(),
            parts: self.parts.into_iter().map(part).collect(),
            dead_letters: self.dead_letters,
            opened: self.opened,
            permit: self.permit,
        }
    }
}

fn length(bytes: Option<&Vec<u8>>) -> usize {
    bytes.map_or(0, Vec::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { rows: 10, bytes: 1000, age: Duration::from_secs(30) };

    fn batches(records: &[(u64, u32, Vec<u8>)]) -> Vec<(Batch, Cut)> {
        let budget = Budget::new(1 << 30, 1);
        let start = Instant::now();
        let mut sealed = Vec::new();
        let mut open: Option<OpenBatch> = None;
        for (offset, (seconds, month, row)) in (0..).zip(records) {
            let now = start + Duration::from_secs(*seconds);
            if let Some(cut) = open.as_ref().and_then(|batch| batch.cut(&LIMITS, now)) {
                sealed.push((open.take().unwrap().seal(), cut));
            }
            let batch = open.get_or_insert_with(|| OpenBatch::open(offset, now, budget.permit(0)));
            batch.note(offset, None, Some(row));
            batch.push_row(*month, row);
            if let Some(cut) = batch.cut(&LIMITS, now) {
                sealed.push((open.take().unwrap().seal(), cut));
            }
        }
        sealed.extend(open.map(|batch| (batch.seal(), Cut::Drain)));
        sealed
    }

    #[test]
    fn the_digest_sees_every_byte_and_every_boundary() {
        let digest = |key, payload| {
            let mut batch = OpenBatch::open(0, Instant::now(), Budget::new(1, 1).permit(0));
            batch.note(0, key, payload);
            batch.seal().digest
        };
        let one = digest(Some(b"ab"), Some(b"c"));
        assert_eq!(one, digest(Some(b"ab"), Some(b"c")));
        assert_ne!(one, digest(Some(b"a"), Some(b"bc")));
        assert_ne!(digest(None, Some(b"")), digest(Some(b""), None));
    }

    proptest! {
        /// Against a model: ranges cover every offset once and in order, each limit holds, each part has exactly the rows
        /// of its month, and the permit is no smaller than the bytes held.
        #[test]
        fn batches_cover_every_offset_once_within_their_limits(
            steps in proptest::collection::vec((0_u64..20, 202_601_u32..202_604, proptest::collection::vec(any::<u8>(), 1..200)), 1..80)
        ) {
            let mut clock = 0;
            let records: Vec<_> = steps.into_iter().map(|(step, month, row)| { clock += step; (clock, month, row) }).collect();
            let mut next = 0;
            for (batch, cut) in batches(&records) {
                prop_assert_eq!(batch.range.first, next);
                next = batch.range.last + 1;
                let own = &records[batch.range.first as usize..=batch.range.last as usize];
                prop_assert_eq!((batch.rows(), batch.records as usize), (own.len(), own.len()));
                for part in &batch.parts {
                    let wanted: Vec<u8> = own.iter().filter(|r| r.1 == part.month).flat_map(|r| r.2.clone()).collect();
                    prop_assert_eq!(&part.body[..], &wanted[..]);
                }
                let bytes: usize = own.iter().map(|record| record.2.len()).sum();
                prop_assert!(batch.permit.bytes() >= bytes);
                prop_assert!(own.len() <= 10 && bytes < 1200);
                prop_assert!(own.last().unwrap().0 - own[0].0 < 30);
                match cut {
                    Cut::Rows => prop_assert_eq!(own.len(), 10),
                    Cut::Bytes => prop_assert!(bytes >= 1000),
                    _ => prop_assert!(own.len() < 10 && bytes < 1000),
                }
            }
            prop_assert_eq!(next as usize, records.len());
        }
    }
}
