//! Encoded rows, in RowBinary. Batches, replays and searches push, slice and select rows without access to their layout in
//! memory; only the store's client reads the bytes. Pure; rows are shared, and copied only by [`Rows::concat`].

use std::ops::Range;
use std::sync::Arc;

use super::body::{Body, OpenBody, Pool};

/// An immutable list of rows. Clones share their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The end of each row in the body.
    ends: Vec<u32>,
    body: Body,
}

impl Rows {
    /// Creates a list of one row.
    pub fn one(row: Vec<u8>) -> Self {
        Self { ends: vec![to_u32(row.len())], body: row.into() }
    }

    /// Copies several lists into one, in order.
    pub fn concat<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for rows in all {
            let start = to_u32(bytes.len());
            ends.extend(rows.ends.iter().map(|end| start + end));
            bytes.extend(rows.body.to_vec());
        }
        Self { ends, body: bytes.into() }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Number of bytes in all rows.
    pub fn bytes(&self) -> usize {
        self.body.bytes()
    }

    /// The rows with these indexes.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let start_of = |row: usize| row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let (start, end) = (start_of(rows.start), start_of(rows.end));
        let mut body = Body::default();
        body.append(&self.body, start as usize..end as usize);
        Self { ends: self.ends[rows].iter().map(|end| end - start).collect(), body }
    }

    /// The rows whose indexes `is_kept` accepts.
    #[must_use]
    pub fn select(&self, is_kept: impl Fn(usize) -> bool) -> Self {
        let (mut ends, mut body) = (Vec::new(), Body::default());
        // Bytes of consecutive kept rows, which are appended together.
        let (mut run, mut start) = (0..0, 0);
        for (row, end_of_row) in self.ends.iter().map(|end| *end as usize).enumerate() {
            if is_kept(row) {
                if run.end != start {
                    body.append(&self.body, run);
                    run = start..start;
                }
                run.end = end_of_row;
                ends.push(to_u32(body.bytes() + run.len()));
            }
            start = end_of_row;
        }
        body.append(&self.body, run);
        Self { ends, body }
    }

    /// The bytes of all rows, in order.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// A list that accepts rows.
#[derive(Debug)]
pub struct OpenRows {
    ends: Vec<u32>,
    body: OpenBody,
}

impl OpenRows {
    /// Creates an empty list; it allocates nothing before the first row.
    pub fn new(pool: &Arc<Pool>) -> Self {
        Self { ends: Vec::new(), body: OpenBody::new(pool) }
    }

    /// Appends a row; returns by how many bytes the capacity of the body grew.
    pub fn push(&mut self, row: &[u8]) -> usize {
        let grown = self.body.push(row);
        self.ends.push(to_u32(self.body.bytes()));
        grown
    }

    /// Ends the list: it accepts no more rows.
    pub fn seal(self) -> Rows {
        Rows { ends: self.ends, body: self.body.seal() }
    }
}

/// The index of a record in its batch, or the end of a row, in 32 bits.
pub(super) fn to_u32(number: usize) -> u32 {
    u32::try_from(number)
        .expect("`Settings::check` bounds a batch's records and bytes, and the decoder a row, far below 2^32")
}
