//! The destination of a pipeline's batches. It sends nothing itself.

use std::time::Duration;

use crate::clickhouse::insert::Insert;
use crate::target::Target;

/// The destination of one pipeline's batches.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The topic and the table.
    pub target: Target,
    /// The INSERT for the table's rows.
    pub insert: Insert,
    /// The JSON field, as a dotted path, that holds a record's tenant; empty if records have none.
    pub tenant: String,
    /// Minimum time for which ClickHouse remembers a token, in this table and in every table that its views write to.
    pub token_retention: Duration,
}
