//! The rows of one month of a batch, which land together. It holds no offsets: its rows refer to the batch's records by
//! index.

use super::rows::Rows;

/// Rows of one month: one block in one INSERT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Month of the table's partition key, as in 202611; 0 if the table has no partitions.
    pub month: u32,
    /// Index of each row's record in the batch.
    pub(super) records: Vec<u32>,
    /// The rows.
    pub rows: Rows,
}

impl Part {
    /// Number of rows.
    pub fn count(&self) -> usize {
        self.rows.count()
    }
}
