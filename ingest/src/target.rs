//! A topic and the table for its rows. It never checks that either exists.

use std::sync::Arc;

use sluice_schemas::names::Names;
use uuid::Uuid;

/// The rows of one topic in one table.
#[derive(Debug, Clone)]
pub struct Target {
    /// Topic with its namespace.
    pub topic: Arc<str>,
    /// ID of the topic.
    pub topic_id: Uuid,
    /// Database of the table; part of the token.
    pub database: String,
    /// The table.
    pub table: String,
}

impl Target {
    /// Creates the target for rows of a topic (with its namespace) in a table of the platform's database.
    pub fn new(topic: &str, topic_id: Uuid, names: &Names, table: &str) -> Self {
        Self { topic: topic.into(), topic_id, database: names.database(), table: table.to_owned() }
    }
}
