//! Where the batches of a pipeline go, and how they are sent. Plain data.

use std::time::Duration;

use crate::clickhouse::insert::Insert;
use crate::target::Target;

/// Where the batches of one pipeline go.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The topic and the table.
    pub target: Target,
    /// The INSERT that its rows are sent with.
    pub insert: Insert,
    /// The JSON field, a dotted path, that names a record's tenant; empty where records have none.
    pub tenant: String,
    /// How long ClickHouse is certain to remember a token of this table and of everything behind it.
    pub remembered: Duration,
}
