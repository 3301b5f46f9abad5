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
    pub(super) fn piece(&self, from: u32, to: u32) -> Self {
        let first = self.rows.partition_point(|row| row.record < from);
        let last = self.rows.partition_point(|row| row.record < to);
        let start = first.checked_sub(1).map_or(0, |before| self.rows[before].end);
        let rows: Vec<_> =
            self.rows[first..last].iter().map(|row| Row { record: row.record - from, end: row.end - start }).collect();
        let length = rows.last().map_or(0, |row| row.end);
        let mut body = Body::default();
        body.append(&self.body, start as usize..(start + length) as usize);
        Self { month: self.month, rows, body, has_landed: self.has_landed }
    }
}
