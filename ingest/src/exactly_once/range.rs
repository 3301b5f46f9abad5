//! The offsets of a batch: the unit that is announced, written and committed. It does not record which offsets between
//! its bounds exist.

/// Offsets of one batch, both bounds included. Offsets between them may be missing (compaction, aborted transactions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Offset of the first record.
    pub first: i64,
    /// Offset of the last record.
    pub last: i64,
}

impl Range {
    /// Whether `offset` is in the range.
    pub fn contains(&self, offset: i64) -> bool {
        (self.first..=self.last).contains(&offset)
    }
}
