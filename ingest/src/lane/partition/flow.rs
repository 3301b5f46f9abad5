//! Why a partition takes nothing in, and what Kafka's client has to be told because of it.
//! Reasons come and go; out comes the one change that the client does not know of yet. It tells the client nothing itself.

use std::time::Instant;

use super::hold::{FLOW_WAIT, Flow, Hold};
use super::state::Partition;

impl Partition {
    /// Why nothing is taken in.
    pub fn holds(&self) -> impl Iterator<Item = Hold> + '_ {
        Hold::ALL.into_iter().filter(|why| self.is_held(*why))
    }

    /// Takes nothing more in for this reason.
    pub fn hold(&mut self, why: Hold) {
        self.holds |= why as u8;
    }

    /// This reason is gone; others may remain.
    pub fn release(&mut self, why: Hold) {
        self.holds &= !(why as u8);
    }

    /// Whether it is held for this reason.
    pub fn is_held(&self, why: Hold) -> bool {
        self.holds & why as u8 != 0
    }

    /// What Kafka's client has to be told, if it does not know yet.
    pub fn flow_change(&mut self) -> Option<Flow> {
        if self.told.again_after.is_some_and(|after| Instant::now() < after) {
            return None;
        }
        let wanted = self.holds != 0;
        if !wanted && std::mem::take(&mut self.must_seek) {
            self.told.is_paused = false;
            self.idle_at = -1;
            return Some(Flow::ResumeAt(self.start));
        }
        let is_news = wanted != self.told.is_paused;
        self.told.is_paused = wanted;
        if !is_news {
            return None;
        }
        // A pause throws away what was fetched and not taken in.
        self.idle_at = -1;
        Some(if wanted { Flow::Pause } else { Flow::Resume })
    }

    /// Kafka's client did not do what it was told; it is told again in a while.
    pub fn flow_failed(&mut self, flow: Flow, now: Instant) {
        self.told.is_paused = flow != Flow::Pause;
        self.must_seek |= matches!(flow, Flow::ResumeAt(_));
        self.told.again_after = Some(now + FLOW_WAIT);
    }

    /// Whether Kafka's client was told to pause it.
    pub fn is_paused(&self) -> bool {
        self.told.is_paused
    }
}
