//! Why a partition takes nothing in, and what Kafka's client is told because of it. Plain data.

use std::time::{Duration, Instant};

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
pub(super) struct LastFlow {
    /// Whether that was to pause.
    pub(super) is_paused: bool,
    /// When it may be told again after it failed.
    pub(super) again_after: Option<Instant>,
}
