//! The rows of a batch that land together: those of one month.
//! A cut goes in, a part of that piece comes out. Pure.

use crate::body::Body;

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
    /// Whether ClickHouse acknowledged them before the batch was cut.
    pub has_landed: bool,
}

impl Part {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Its rows of the records from index `from` up to, not including, `to`, which are counted from `from` on.
    pub(super) fn piece(&self, from: usize, to: usize) -> Self {
        let first = self.rows.partition_point(|row| (row.record as usize) < from);
        let last = self.rows.partition_point(|row| (row.record as usize) < to);
        let start = first.checked_sub(1).map_or(0, |before| self.rows[before].end as usize);
        let end = last.checked_sub(1).map_or(0, |last| self.rows[last].end as usize);
        let piece = |row: &Row| Row::new(row.record as usize - from, row.end as usize - start);
        let rows = self.rows[first..last].iter().map(piece).collect();
        let mut body = Body::default();
        body.append(&self.body, start..end.max(start));
        Self { month: self.month, rows, body, has_landed: self.has_landed }
    }
}
