//! How well a table has to remember the tokens of INSERTs, and why one does not. Plain data.

use super::name::TableName;
use crate::config::Settings;

/// How well tokens have to be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// INSERTs per second into a table.
    pub per_second: u64,
    /// INSERTs that a table has to remember.
    pub inserts: u64,
    /// For so many seconds.
    pub seconds: u64,
}

impl Demand {
    /// What workers with these settings need.
    pub fn new(settings: &Settings) -> Self {
        Self {
            per_second: u64::from(settings.peak_inserts_per_second),
            inserts: settings.tokens_needed(),
            seconds: (settings.session_timeout() + settings.insert_timeout).as_secs().max(1),
        }
    }

    /// The least: that tokens are remembered at all.
    pub const fn any() -> Self {
        Self { per_second: 1, inserts: 1, seconds: 1 }
    }
}

/// A table that cannot be trusted with a repeated INSERT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A view or its target that this user may not see.
    #[error(
        "{reached} is not visible to this user, so it is unknown whether it recognises a repeated INSERT; GRANT SHOW TABLES \
         ON {table} to the user, or drop the view"
    )]
    Hidden {
        /// The table in words.
        reached: String,
        /// The table.
        table: TableName,
    },
    /// A view that leads back to a table it comes from.
    #[error("{0} is reached by an INSERT into itself: its views form a cycle; drop one of them")]
    Cycle(TableName),
    /// An engine that does not keep each row once.
    #[error("{reached} has engine {engine}, which {reason}")]
    Engine {
        /// The table in words.
        reached: String,
        /// Its engine.
        engine: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A window that is too small.
    #[error(
        "{reached} remembers {remembered} inserted blocks, and {needed} are needed: twice ingest.peak_inserts_per_second for \
         the session and insert timeouts{ways}; ALTER TABLE {table} MODIFY SETTING {setting} = {needed}"
    )]
    Window {
        /// The table in words.
        reached: String,
        /// The table.
        table: TableName,
        /// The table's setting.
        setting: &'static str,
        /// What it says.
        remembered: u64,
        /// What it should say at least.
        needed: u64,
        /// Words about several views that write to it, or nothing.
        ways: String,
    },
    /// A window that is too short.
    #[error(
        "{reached} remembers inserted blocks for {remembered} s, and {needed} s are needed: the session and insert timeouts; \
         ALTER TABLE {table} MODIFY SETTING {setting} = {needed}"
    )]
    Seconds {
        /// The table in words.
        reached: String,
        /// The table.
        table: TableName,
        /// The table's setting.
        setting: &'static str,
        /// What it says.
        remembered: u64,
        /// What it should say at least.
        needed: u64,
    },
}
