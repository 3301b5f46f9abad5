//! Pauses and resumes a partition's intake.
//! It adds and removes reasons for a pause, and returns the resulting change for Kafka's client until it is applied. It never
//! calls the client.

use std::time::Instant;

use super::hold::{FLOW_WAIT, Flow, Hold};
use super::state::Partition;

impl Partition {
    /// The reasons for which intake is paused.
    pub fn holds(&self) -> impl Iterator<Item = Hold> + '_ {
        Hold::ALL.into_iter().filter(|why| self.is_held(*why))
    }

    /// Pauses intake for this reason.
    pub fn hold(&mut self, why: Hold) {
        self.holds |= why as u8;
    }

    /// Removes this reason; others may remain.
    pub fn release(&mut self, why: Hold) {
        self.holds &= !(why as u8);
    }

    /// Whether intake is paused for this reason.
    pub fn is_held(&self, why: Hold) -> bool {
        self.holds & why as u8 != 0
    }

    /// Returns the change that Kafka's client has to apply, if any; it counts as applied unless [`Self::retry_flow`] follows.
    pub fn flow_change(&mut self) -> Option<Flow> {
        if self.last_flow.retry_after.is_some_and(|after| Instant::now() < after) {
            return None;
        }
        let is_paused = self.holds != 0;
        if !is_paused && std::mem::take(&mut self.must_seek) {
            self.last_flow.is_paused = false;
            self.idle_at = -1;
            return Some(Flow::ResumeAt(self.start));
        }
        let is_changed = is_paused != self.last_flow.is_paused;
        self.last_flow.is_paused = is_paused;
        if !is_changed {
            return None;
        }
        // A pause discards records that were fetched and not consumed.
        self.idle_at = -1;
        Some(if is_paused { Flow::Pause } else { Flow::Resume })
    }

    /// Schedules a retry of a change that Kafka's client could not apply: it is returned again after [`FLOW_WAIT`].
    pub fn retry_flow(&mut self, flow: Flow, now: Instant) {
        self.last_flow.is_paused = flow != Flow::Pause;
        self.must_seek |= matches!(flow, Flow::ResumeAt(_));
        self.last_flow.retry_after = Some(now + FLOW_WAIT);
    }

    /// Whether the last change for Kafka's client was a pause.
    pub fn is_paused(&self) -> bool {
        self.last_flow.is_paused
    }
}
