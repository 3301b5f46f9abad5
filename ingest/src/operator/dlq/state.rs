//! The state of a dead letter, determined by its table. This module queries no table.

/// The state of a dead letter, determined by its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its record is not in the table.
    Waiting,
    /// Its record is in the table.
    Landed,
    /// No pipeline has its topic, the letter lacks the topic ID, or ClickHouse does not respond.
    Unknown,
}

impl State {
    /// The state as printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Landed => "landed",
            Self::Unknown => "unknown",
        }
    }
}
