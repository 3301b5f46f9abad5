//! Why intake of a partition is paused, and the changes for Kafka's client. Plain data.

use std::time::{Duration, Instant};

/// Why intake of a partition is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The memory budget is used up.
    Memory = 1,
    /// Its store is unavailable, or an operator is needed.
    Store = 2,
    /// An operator has to decide; nothing more is consumed, written or committed until a restart.
    Stopped = 4,
    /// The worker is shutting down.
    Drain = 8,
    /// Kafka and its table have not yet returned where it begins.
    Opening = 16,
    /// Too many ranges wait for an intent to hold more.
    Ranges = 32,
    /// The breaker is open; an operator has to inspect its records.
    Breaker = 64,
    /// An operator has paused it.
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

    /// The reason as text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory is short",
            Self::Store => "its store does not accept batches",
            Self::Stopped => "stopped until an operator decides and restarts the worker",
            Self::Drain => "shutting down",
            Self::Opening => "reading its offsets from Kafka and its table",
            Self::Ranges => "too many batches are waiting",
            Self::Breaker => "the breaker is open",
            Self::Operator => "paused by an operator",
        }
    }
}

/// A change of a partition's delivery by Kafka's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Stop delivery.
    Pause,
    /// Continue delivery.
    Resume,
    /// Continue delivery from this offset; records delivered since the pause were discarded.
    ResumeAt(i64),
}

/// Wait before a failed pause or resume is retried.
pub(super) const FLOW_WAIT: Duration = Duration::from_millis(500);

/// The last change that Kafka's client was given for a partition.
#[derive(Debug, Default)]
pub(super) struct LastFlow {
    /// Whether it was a pause.
    pub(super) is_paused: bool,
    /// When it may be retried after a failure.
    pub(super) retry_after: Option<Instant>,
}
