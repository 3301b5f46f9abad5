//! Stage three: records of one topic partition become batches.
//! Rows and dead letters go in with their offsets; a sealed [`Batch`] comes out: one contiguous offset range, its rows
//! divided by month. Clocked by the caller, no I/O. It never mixes partitions and never leaves an offset out.
//!
//! Rows can be set aside from a part: a batch remembers of each record the offset and a digest of the raw key and payload,
//! and of each row where it ends, though the raw bytes themselves are gone.

pub mod body;
pub mod budget;

mod part;

use std::time::{Duration, Instant};

use sluice_schemas::records::DeadLetter;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::dead_letter::compose;
use crate::exactly_once::intent::{Announced, Doubt};
use crate::exactly_once::ledger::Range;
use body::{Body, OpenBody};
use budget::Permit;
pub use part::Part;
use part::Row;

/// Step by which the list of records grows.
const RECORDS_STEP: usize = 1024;

/// When a batch is sealed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records.
    pub rows: usize,
    /// Most encoded bytes.
    pub bytes: usize,
    /// Longest time since its first record.
    pub age: Duration,
    /// Most months: each is an INSERT of its own.
    pub months: usize,
    /// How far it may grow instead while another batch of its partition is under way.
    pub backlog: Backlog,
}

/// How far a batch may grow while another batch of its partition is under way: sealed, or being written.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Most records.
    pub rows: usize,
    /// Most encoded bytes.
    pub bytes: usize,
    /// Longest time that writing it should take, judged by the last write.
    pub time: Duration,
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
    /// It is the range that was announced before this assignment.
    Announced,
    /// It reached the highest offset that its table had when the assignment began.
    Checked,
    /// It has grown beyond `max_rows` or `max_bytes` while another batch of its partition was under way.
    Backlog,
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
            Self::Announced => "announced",
            Self::Checked => "checked",
            Self::Backlog => "backlog",
        }
    }
}

/// A record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    offset: i64,
    /// Of its raw key and payload.
    digest: u64,
}

/// A sealed batch.
#[derive(Debug)]
pub struct Batch {
    /// Its offsets.
    pub range: Range,
    records: Vec<Taken>,
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
    pub may_be_half_done: bool,
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
        self.parts.iter().map(|part| part.body.bytes()).sum()
    }

    /// How it is announced.
    pub fn announcement(&self) -> Announced {
        Announced { range: self.range, digest: self.digest, doubt: self.doubt }
    }

    /// Offsets of a part's rows, in order.
    pub fn offsets<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = i64> + 'a {
        part.rows.iter().map(|row| self.records[row.record as usize].offset)
    }

    /// Digest of the offsets, raw keys and payloads of a part's own records. Other parts, and what was set aside, do not
    /// change it.
    pub fn digest_of(&self, part: &Part) -> u128 {
        digest(part.rows.iter().map(|row| &self.records[row.record as usize]))
    }

    /// The rows of a part whose offsets are not among `offsets` (in order), as a part of its own.
    pub fn without(&self, part: &Part, offsets: &[i64]) -> Part {
        let (mut rows, mut body) = (Vec::new(), Body::default());
        // Bytes of neighbours that are taken over together.
        let (mut run, mut start) = (0..0, 0);
        for row in &part.rows {
            let (record, end) = (self.records[row.record as usize], row.end as usize);
            if offsets.binary_search(&record.offset).is_err() {
                if run.end != start {
                    body.append(&part.body, run);
                    run = start..start;
                }
                run.end = end;
                rows.push(Row::new(row.record as usize, body.bytes() + run.len()));
            }
            start = end;
        }
        body.append(&part.body, run);
        Part { month: part.month, rows, body }
    }
}

fn digest<'a>(records: impl IntoIterator<Item = &'a Taken>) -> u128 {
    let mut digest = Xxh3::new();
    for Taken { offset, digest: record } in records {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&offset.to_le_bytes());
        bytes[8..].copy_from_slice(&record.to_le_bytes());
        digest.update(&bytes);
    }
    digest.digest128()
}

/// Digest of one record. The length of the key, or all ones for null, keeps ("ab", "c") and ("a", "bc") apart.
fn digest_of(key: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    let seed = length(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length(payload);
    let seed = xxh3_64_with_seed(key.unwrap_or_default(), seed);
    xxh3_64_with_seed(payload.unwrap_or_default(), seed)
}

#[derive(Debug)]
struct OpenPart {
    month: u32,
    rows: Vec<Row>,
    body: OpenBody,
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
    pub fn note(&mut self, offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) {
        if self.records.len() == self.records.capacity() {
            self.records.reserve_exact(RECORDS_STEP);
            self.permit.grow(RECORDS_STEP * (size_of::<Taken>() + size_of::<Row>()));
        }
        self.records.push(Taken { offset, digest: digest_of(key, payload) });
        self.bytes_before = self.bytes;
    }

    /// Takes the row of the record in that was noted last.
    pub fn push_row(&mut self, month: u32, row: &[u8]) {
        let index = self.parts.iter().rposition(|part| part.month == month).unwrap_or_else(|| {
            self.parts.push(OpenPart { month, rows: Vec::new(), body: OpenBody::new(self.permit.pool()) });
            self.parts.len() - 1
        });
        let part = &mut self.parts[index];
        let grown = part.body.push(row);
        self.permit.grow(grown);
        part.rows.push(Row::new(self.records.len() - 1, part.body.bytes()));
        self.bytes += row.len();
    }

    /// Takes the record in that was noted last and cannot land.
    pub fn push_dead_letter(&mut self, letter: DeadLetter) {
        let bytes = compose::memory(&letter);
        self.permit.grow(bytes);
        self.bytes += bytes;
        self.dead_letters.push(letter);
    }

    /// Offset of the record that was noted last.
    pub fn last(&self) -> Option<i64> {
        self.records.last().map(|record| record.offset)
    }

    /// Whether it has to be sealed now, and why, where nothing else of its partition is under way.
    pub fn cut(&self, limits: &Limits, now: Instant) -> Option<Cut> {
        if self.records.len() > limits.rows || self.bytes_before >= limits.bytes {
            Some(Cut::Backlog)
        } else if self.records.len() >= limits.rows {
            Some(Cut::Rows)
        } else if self.bytes >= limits.bytes {
            Some(Cut::Bytes)
        } else if self.parts.len() >= limits.months {
            Some(Cut::Months)
        } else if now.saturating_duration_since(self.opened) >= limits.age {
            Some(Cut::Age)
        } else {
            None
        }
    }

    /// Whether it has to be sealed now, and why, where another batch of its partition is under way: nothing is gained by
    /// sealing it before that one has ended, so it grows up to `most` records and bytes.
    pub fn cut_behind(&self, limits: &Limits, most: &Backlog) -> Option<Cut> {
        if self.records.len() >= most.rows || self.bytes >= most.bytes {
            let is_grown = self.records.len() > limits.rows || self.bytes_before >= limits.bytes;
            let usual = if self.records.len() >= limits.rows { Cut::Rows } else { Cut::Bytes };
            Some(if is_grown { Cut::Backlog } else { usual })
        } else if self.parts.len() >= limits.months {
            Some(Cut::Months)
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
        let part = |part: OpenPart| Part { month: part.month, rows: part.rows, body: part.body.seal() };
        Some(Batch {
            range: announced.unwrap_or(Range { first, last }),
            digest: digest(&self.records),
            records: self.records,
            parts: self.parts.into_iter().map(part).collect(),
            dead_letters: self.dead_letters,
            doubt: Doubt::No,
            may_be_half_done: false,
            opened: self.opened,
            permit: self.permit,
        })
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::budget::Budget;

    #[test]
    fn the_digest_sees_every_byte_and_every_boundary() {
        let digest = |key, payload| {
            let mut batch = OpenBatch::open(Instant::now(), Budget::new(1, 1).permit(0));
            batch.note(0, key, payload);
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

    /// A batch of `months.len()` records with one row each, the record's number as its row.
    fn batch_of(months: &[u32]) -> Batch {
        let budget = Budget::new(1 << 30, 1);
        let mut open = OpenBatch::open(Instant::now(), budget.permit(0));
        for (number, month) in (0_u8..).zip(months) {
            open.note(i64::from(number) * 3, None, Some(&[number]));
            open.push_row(*month, &vec![number; 1 + usize::from(number % 4)]);
        }
        open.seal(None).unwrap()
    }

    #[test]
    fn buffers_grow_in_small_steps_at_first_and_in_bounded_ones_later() {
        let mut open = OpenBatch::open(Instant::now(), Budget::new(1 << 30, 1).permit(0));
        open.note(0, None, None);
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

    #[test]
    fn the_words_of_cuts_stay_as_they_are() {
        use Cut::{Age, Announced, Backlog, Bytes, Checked, Drain, Months, Pressure, Rows};
        let words = [Rows, Bytes, Age, Months, Pressure, Drain, Announced, Checked, Backlog].map(Cut::as_str);
        let known = "rows bytes age months pressure drain announced checked backlog";
        assert_eq!(words.join(" "), known, "dashboards hold them");
    }

    #[test]
    fn rows_that_are_set_aside_change_the_digest_of_their_own_part_only() {
        let batch = batch_of(&[1, 1, 2, 1, 2, 1]);
        let kept = batch.without(&batch.parts[0], &[0, 9]);
        assert_eq!((batch.offsets(&kept).collect::<Vec<_>>(), kept.body.to_vec()), (vec![3, 15], vec![1, 1, 5, 5]));
        assert_ne!(batch.digest_of(&kept), batch.digest_of(&batch.parts[0]));
        assert_eq!(batch.without(&batch.parts[1], &[0, 9]), batch.parts[1]);
        let alone = batch_of(&[1, 1, 1]);
        assert_eq!(alone.digest_of(&alone.parts[0]), alone.digest, "where it is all there is");
    }
}
