//! Where the batches of a pipeline go, and the token by which ClickHouse knows a part again. Pure.

use std::sync::Arc;
use std::time::Duration;

use sluice_schemas::names::Names;
use uuid::Uuid;

use crate::clickhouse::insert::Insert;
use crate::exactly_once::ledger::Range;
use crate::failpoint::is_sabotaged;

/// Where the batches of one pipeline go.
#[derive(Debug, Clone)]
pub struct Target {
    /// Topic with its namespace.
    pub topic: Arc<str>,
    /// Its identity.
    pub topic_id: Uuid,
    /// Database of the table; part of the token.
    pub database: String,
    /// The table.
    pub table: String,
    /// What its rows are sent with.
    pub insert: Insert,
    /// The JSON field, a dotted path, that names a record's tenant; empty where records have none.
    pub tenant: String,
    /// How long ClickHouse surely remembers a token of this table.
    pub remembered: Duration,
}

impl Target {
    /// The rows of a topic in a table, to be asked about only.
    pub(crate) fn to_ask(topic: &str, topic_id: Uuid, names: &Names, table: &str) -> Self {
        Self {
            topic: topic.into(),
            topic_id,
            database: names.database(),
            table: table.to_owned(),
            insert: Insert::new(table, Vec::new(), "", false),
            tenant: String::new(),
            remembered: Duration::ZERO,
        }
    }
}

/// The deduplication token of a part: the same rows always have the same one, and no other rows ever have it. `digest` is
/// that of its own records, see [`crate::batch::Batch::digest_of`].
pub fn token(target: &Target, partition: i32, range: Range, month: u32, digest: u128) -> String {
    let Range { first, last } = range;
    let Target { database, table, topic_id, .. } = target;
    let version = if is_sabotaged("token") { Uuid::now_v7().to_string() } else { "v3".to_owned() };
    format!("{version}:{database}.{table}:{topic_id}:{partition}:{first}-{last}:{month}:{digest:032x}")
}

/// What the ids of all INSERTs of a topic partition into its table begin with, whoever sends them.
pub fn inserts_of(target: &Target, partition: i32) -> String {
    let Target { database, table, topic_id, .. } = target;
    format!("sluice:insert:{}.{}:{topic_id}:{partition}:", in_an_id(database), in_an_id(table))
}

/// A name as the id of a query has it, which comes back in a header: every byte that is no letter, digit, `_`, `-` or `.` is
/// its number with `%`.
fn in_an_id(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    name.bytes().map(byte).collect()
}

/// What the id of a part's INSERT begins with.
pub fn insert_name(target: &Target, partition: i32, range: Range, month: u32) -> String {
    format!("{}{}-{}:{month}", inserts_of(target, partition), range.first, range.last)
}
