//! What a table looks like: its columns, its partition key and the server's time zone. Plain data.

use serde::Deserialize;

/// What a table looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// Text of its partition key.
    pub partition_key: String,
    /// The server's time zone, in which columns without one of their own are understood.
    pub server_zone: String,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type as ClickHouse writes it.
    pub type_text: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL` or nothing.
    pub default_kind: String,
}
