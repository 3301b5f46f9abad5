//! The shape of a table: its columns, its partition key and the server's time zone. This module sends no query; the
//! client reads the shape.

use serde::Deserialize;

/// The shape of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The columns in order.
    pub columns: Vec<Column>,
    /// Text of the partition key.
    pub partition_key: String,
    /// The server's time zone, used for columns without their own.
    pub server_zone: String,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Type as ClickHouse writes it.
    pub type_text: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL` or empty.
    pub default_kind: String,
}
