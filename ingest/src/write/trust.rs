//! How far an acknowledgement is trusted, and which assignments have confirmed that their rows are visible. No I/O.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::Assigned;

/// How far an acknowledgement is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The part was not sent before, and acknowledged rows of this assignment were visible: it has landed.
    Full,
    /// The part was not sent before, but no rows of this assignment have been looked up yet.
    First,
    /// The part may have been sent before: ClickHouse may have dropped it as a repetition.
    Repeated,
}

/// Assignments whose acknowledged rows were visible: the last such epoch by pipeline and partition.
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
