//! How long a table must remember the tokens of INSERTs, and why a table is unsuitable. This module reads no table.

use super::name::TableName;
use crate::config::Settings;

/// How many tokens a table must remember, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Peak INSERTs per second into a table.
    pub per_second: u64,
    /// Number of INSERTs whose tokens a table must remember.
    pub inserts: u64,
    /// Seconds for which a table must remember those tokens.
    pub seconds: u64,
}

impl Demand {
    /// The demand of workers with these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            per_second: u64::from(settings.peak_inserts_per_second),
            inserts: settings.tokens_needed(),
            seconds: (settings.session_timeout() + settings.insert_timeout).as_secs().max(1),
        }
    }

    /// The minimum demand: that a table remembers tokens at all.
    pub const fn minimal() -> Self {
        Self { per_second: 1, inserts: 1, seconds: 1 }
    }
}

/// Why a table cannot be trusted to recognize a repeated INSERT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsuitableTable {
    /// A view or its target is not visible to this user.
    #[error(
        "{label} is not visible to this user, so it is unknown whether it recognizes a repeated INSERT; GRANT SHOW TABLES \
         ON {table} to the user, or drop the view"
    )]
    Hidden {
        /// The table as text.
        label: String,
        /// The table.
        table: TableName,
    },
    /// A view writes to a table that it is fed from.
    #[error("{0} is reached by an INSERT into itself: its views form a cycle; drop one of them")]
    Cycle(TableName),
    /// The engine may keep a row twice or not at all.
    #[error("{label} has engine {engine}, which {reason}")]
    Engine {
        /// The table as text.
        label: String,
        /// The table's engine.
        engine: String,
        /// The reason and the remedy.
        reason: &'static str,
    },
    /// The window holds too few blocks.
    #[error(
        "{label} remembers {remembered} inserted blocks, and {needed} are needed: twice ingest.peak_inserts_per_second for \
         the session and insert timeouts{paths}; ALTER TABLE {table} MODIFY SETTING {setting} = {needed}"
    )]
    Window {
        /// The table as text.
        label: String,
        /// The table.
        table: TableName,
        /// The table's setting.
        setting: &'static str,
        /// The setting's value.
        remembered: u64,
        /// The minimum value.
        needed: u64,
        /// Text about several views that write to the table, or empty.
        paths: String,
    },
    /// The window is too short.
    #[error(
        "{label} remembers inserted blocks for {remembered} s, and {needed} s are needed: the session and insert timeouts; \
         ALTER TABLE {table} MODIFY SETTING {setting} = {needed}"
    )]
    Seconds {
        /// The table as text.
        label: String,
        /// The table.
        table: TableName,
        /// The table's setting.
        setting: &'static str,
        /// The setting's value, in seconds.
        remembered: u64,
        /// The minimum value, in seconds.
        needed: u64,
    },
}
