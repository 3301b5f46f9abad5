//! Why intake of a partition is paused, and the changes for Kafka's client. It applies none of them.

use std::time::{Duration, Instant};

/// Why intake of a partition is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The memory budget is used up.
    Memory = 1,
    /// ClickHouse or the dead-letter topic does not accept its batches.
    Store = 2,
    /// An operator has to decide; nothing more is consumed, written or committed until a restart.
    Stopped = 4,
    /// The worker is shutting down.
    Drain = 8,
    /// Kafka and the table have not yet returned where the partition begins.
    Opening = 16,
    /// The intent has no room for more ranges.
    Ranges = 32,
    /// The breaker is open; an operator has to inspect the records.
    Breaker = 64,
    /// An operator has paused the partition.
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

/// The last change of a partition that Kafka's client had to apply.
#[derive(Debug, Default)]
pub(super) struct LastFlow {
    /// Whether the change was a pause.
    pub(super) is_paused: bool,
    /// When the change may be retried after a failure.
    pub(super) retry_after: Option<Instant>,
}
