//! What the loaders of all stores share: the stores, the population, and when to stop. This module loads nothing
//! itself.

use std::ops::Range;

use chrono::{DateTime, Utc};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tokio_util::sync::CancellationToken;

use super::error::LoadError;
use super::ledger::Ledger;
use crate::population::Population;

/// Records of one kind that a store holds, or has accepted, since the last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// Accepted from this load.
    Loaded(u64),
    /// Loaded by an earlier one, and not loaded again.
    Kept(u64),
}

/// Called from several tasks while a load runs, with a kind of record, such as `PostgreSQL customers`.
pub type OnProgress<'a> = dyn Fn(&str, Records) + Send + Sync + 'a;

/// Everything a loader needs.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) stores: &'a Stores,
    pub(super) names: &'a Names,
    pub(super) population: &'a Population,
    /// End of the simulated time of the drive.
    pub(super) until: DateTime<Utc>,
    pub(super) stop: &'a CancellationToken,
    pub(super) progress: &'a OnProgress<'a>,
    /// What is loaded already, and where to record what follows.
    pub(super) ledger: &'a Ledger,
}

impl Job<'_> {
    /// Counts records that a store has accepted.
    pub(super) fn loaded(&self, kind: &str, more: u64) {
        (self.progress)(kind, Records::Loaded(more));
    }

    /// Counts records that an earlier load has left.
    pub(super) fn kept(&self, kind: &str, count: u64) {
        (self.progress)(kind, Records::Kept(count));
    }

    /// Fails if the load is being stopped.
    pub(super) fn check_stop(&self) -> Result<(), LoadError> {
        if self.stop.is_cancelled() { Err(LoadError::Stopped) } else { Ok(()) }
    }
}

/// Splits `0..count` into ranges of at most `size`.
pub(super) fn chunks(count: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    (0..count).step_by(size as usize).map(move |from| from..count.min(from + size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_everything_exactly_once() {
        assert_eq!(chunks(25, 10).collect::<Vec<_>>(), [0..10, 10..20, 20..25]);
        assert_eq!(chunks(0, 10).count(), 0);
    }
}
