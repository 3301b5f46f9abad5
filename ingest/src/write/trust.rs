//! How far an acknowledgement is trusted, and which assignments have confirmed that their rows are visible. It performs no
//! I/O.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::AssignmentId;

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

/// Assignments whose acknowledged rows were visible: the last confirmed epoch by pipeline and partition.
#[derive(Debug, Default)]
pub struct ConfirmedAssignments(Mutex<HashMap<(usize, i32), u64>>);

impl ConfirmedAssignments {
    fn epochs(&self) -> MutexGuard<'_, HashMap<(usize, i32), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, assignment: AssignmentId) -> bool {
        self.epochs().get(&(assignment.pipeline, assignment.partition)) == Some(&assignment.epoch)
    }

    pub(super) fn insert(&self, assignment: AssignmentId) {
        self.epochs().insert((assignment.pipeline, assignment.partition), assignment.epoch);
    }
}
