//! Why a partition takes nothing in, and what Kafka's client has to be told because of it.
//! Reasons come and go; out comes the one change that the client does not know of yet. It tells the client nothing itself.

use std::time::{Duration, Instant};

use super::Partition;

/// Why a partition takes nothing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The budget is used up.
    Memory = 1,
    /// Its store does not answer, or an operator is needed.
    Store = 2,
    /// Only an operator's decision goes on; nothing more is taken in, written or committed until a restart.
    Stopped = 4,
    /// The worker is shutting down.
    Drain = 8,
    /// Kafka and its table have not yet said where it begins.
    Opening = 16,
    /// As many ranges wait as an intent may hold.
    Ranges = 32,
    /// Its records are nothing but poison; an operator has to look at them.
    Breaker = 64,
    /// An operator wants it so.
    Operator = 128,
}

impl Hold {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Memory,
        Self::Store,
        Self::Stopped,
        Self::Drain,
        Self::Opening,
        Self::Ranges,
        Self::Breaker,
        Self::Operator,
    ];

    /// The reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory is short",
            Self::Store => "its store does not take its batches",
            Self::Stopped => "stopped until an operator has decided and it is restarted",
            Self::Drain => "shutting down",
            Self::Opening => "asking Kafka and its table where to begin",
            Self::Ranges => "as many batches wait as may",
            Self::Breaker => "the breaker is open",
            Self::Operator => "paused by an operator",
        }
    }
}

/// What Kafka's client has to be told about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Deliver nothing more.
    Pause,
    /// Go on.
    Resume,
    /// Go on from this offset, whatever was delivered meanwhile.
    ResumeAt(i64),
}

/// How long after a failed pause or resume the next one is tried.
pub(super) const FLOW_WAIT: Duration = Duration::from_millis(500);

/// What Kafka's client was last told about a partition.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether that was to pause.
    is_paused: bool,
    /// When it may be told again after it failed.
    again_after: Option<Instant>,
}

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
