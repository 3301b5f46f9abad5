//! What became of a dead letter, as its table tells it.

/// What became of a dead letter, by its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its record is not there.
    Waiting,
    /// Its record is there.
    Landed,
    /// No pipeline says which table, the letter does not say which topic of its name, or ClickHouse does not answer.
    Unknown,
}

impl State {
    /// The word on the screen.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Landed => "landed",
            Self::Unknown => "unknown",
        }
    }
}
