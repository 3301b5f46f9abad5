//! How far an acknowledgement is trusted, and which assignments have seen rows of theirs. It asks nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::Assigned;

/// How far an acknowledgement is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nobody has sent this part before, and rows of this assignment have been seen: it has landed.
    Full,
    /// Nobody has sent this part before, but no rows of this assignment have been seen yet.
    First,
    /// The part may have been sent before: ClickHouse may have dropped it as a repetition.
    Repeated,
}

/// Assignments of which acknowledged rows have been seen: by pipeline and partition, the last epoch.
#[derive(Debug, Default)]
pub struct SeenAssignments(Mutex<HashMap<(usize, i32), u64>>);

impl SeenAssignments {
    fn epochs(&self) -> MutexGuard<'_, HashMap<(usize, i32), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, owner: Assigned) -> bool {
        self.epochs().get(&(owner.pipeline, owner.partition)) == Some(&owner.epoch)
    }

    pub(super) fn insert(&self, owner: Assigned) {
        self.epochs().insert((owner.pipeline, owner.partition), owner.epoch);
    }
}
