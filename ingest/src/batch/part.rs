//! The rows of a batch that land together: those of one month.
//! A stretch of its rows goes in, their bytes come out. Pure.

use std::ops::Range;

use super::body::Body;

/// A row of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Index of its record in the batch.
    pub(super) record: u32,
    /// Where it ends in the body.
    pub(super) end: u32,
}

impl Row {
    /// The row of the record at index `record`, which ends in its body at `end`.
    pub(super) fn new(record: usize, end: usize) -> Self {
        let fits = "`Settings::check` bounds a batch's records and bytes, and the decoder a row, far below 2^32";
        Self { record: u32::try_from(record).expect(fits), end: u32::try_from(end).expect(fits) }
    }
}

/// Good rows of one month: one INSERT, one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Month of the table's partition key, 202611; 0 where the table has no partitions.
    pub month: u32,
    pub(super) rows: Vec<Row>,
    /// The rows in RowBinary.
    pub body: Body,
}

impl Part {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Its rows of these numbers, counted from 0; the bytes are shared.
    pub fn stretch(&self, rows: Range<usize>) -> Body {
        let end_of = |row: usize| row.checked_sub(1).map_or(0, |last| self.rows[last].end as usize);
        let mut body = Body::default();
        body.append(&self.body, end_of(rows.start)..end_of(rows.end));
        body
    }
}
