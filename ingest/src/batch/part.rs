//! The rows of a batch that land together: those of one month.

use super::rows::Rows;

/// Rows of one month: one INSERT, one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Month of the table's partition key, 202611; 0 where the table has no partitions.
    pub month: u32,
    /// Index of each row's record in the batch.
    pub(super) records: Vec<u32>,
    /// The rows.
    pub rows: Rows,
}

impl Part {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.rows.count()
    }
}
