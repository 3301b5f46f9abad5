//! Outcomes of sending a part. Plain data.

use crate::failure::Failure;

/// Outcome of sending a part.
pub(super) enum Landed {
    /// Its rows are in the table.
    Whole,
    /// ClickHouse refuses some of its rows, and none of the rows that were sent is in the table.
    Refused {
        /// The refusal.
        failure: Failure,
        /// Offsets in the batch's range that were in the table before.
        present: Vec<i64>,
    },
}

/// Why a part has not landed.
pub(super) enum Obstacle {
    /// An attempt failed; it is retried.
    Failed(Failure),
    /// An operator has to decide; it is not retried.
    Stopped(String),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why a batch is stopped until an operator has decided.
pub(super) struct Stop(pub(super) String);
