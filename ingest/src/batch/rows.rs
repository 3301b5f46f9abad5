//! Encoded rows, in RowBinary. Nothing else knows how rows lie in memory: batches, replays and searches push, slice and select
//! them, and only the store's client looks at the bytes. Pure; rows are shared, never copied, unless they are concatenated.

use std::ops::Range;
use std::sync::Arc;

use super::body::{Body, OpenBody, Pool};

/// Rows that take no more in. A clone shares their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Where each row ends in the body.
    ends: Vec<u32>,
    body: Body,
}

impl Rows {
    /// A single row.
    pub fn one(row: Vec<u8>) -> Self {
        Self { ends: vec![narrow(row.len())], body: row.into() }
    }

    /// The rows of all of these, in order, in one piece.
    pub fn concat<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for rows in all {
            let start = narrow(bytes.len());
            ends.extend(rows.ends.iter().map(|own| start + own));
            bytes.extend(rows.body.to_vec());
        }
        Self { ends, body: bytes.into() }
    }

    /// How many rows.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.body.bytes()
    }

    /// The rows of these numbers, counted from 0.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let start_of = |row: usize| row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let (start, end) = (start_of(rows.start), start_of(rows.end));
        let mut body = Body::default();
        body.append(&self.body, start as usize..end as usize);
        Self { ends: self.ends[rows].iter().map(|own| own - start).collect(), body }
    }

    /// The rows whose numbers, counted from 0, are kept.
    #[must_use]
    pub fn select(&self, is_kept: impl Fn(usize) -> bool) -> Self {
        let (mut ends, mut body) = (Vec::new(), Body::default());
        // Bytes of neighboring rows, which are taken over together.
        let (mut run, mut start) = (0..0, 0);
        for (row, end_of_row) in self.ends.iter().map(|end| *end as usize).enumerate() {
            if is_kept(row) {
                if run.end != start {
                    body.append(&self.body, run);
                    run = start..start;
                }
                run.end = end_of_row;
                ends.push(narrow(body.bytes() + run.len()));
            }
            start = end_of_row;
        }
        body.append(&self.body, run);
        Self { ends, body }
    }

    /// Their bytes, one row after another.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// Rows that take more in.
#[derive(Debug)]
pub struct OpenRows {
    ends: Vec<u32>,
    body: OpenBody,
}

impl OpenRows {
    /// No rows yet; it takes no memory until the first.
    pub fn new(pool: &Arc<Pool>) -> Self {
        Self { ends: Vec::new(), body: OpenBody::new(pool) }
    }

    /// Appends a row; returns by how many bytes the memory of the bodies grew.
    pub fn push(&mut self, row: &[u8]) -> usize {
        let grown = self.body.push(row);
        self.ends.push(narrow(self.body.bytes()));
        grown
    }

    /// Closes them for good.
    pub fn seal(self) -> Rows {
        Rows { ends: self.ends, body: self.body.seal() }
    }
}

/// The index of a record in its batch, or the place where a row ends, in 32 bits.
pub(super) fn narrow(number: usize) -> u32 {
    u32::try_from(number)
        .expect("`Settings::check` bounds a batch's records and bytes, and the decoder a row, far below 2^32")
}
