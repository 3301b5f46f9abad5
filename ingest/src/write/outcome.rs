//! Outcomes of sending a part. They carry no rows and decide no retry.

use crate::failure::Failure;

/// Outcome of sending a part.
pub(super) enum PartOutcome {
    /// The part's rows are in the table.
    Landed,
    /// ClickHouse refuses some rows of the part, and none of the rows that were sent is in the table.
    Refused {
        /// The refusal.
        failure: Failure,
        /// Offsets in the batch's range that were already in the table.
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
