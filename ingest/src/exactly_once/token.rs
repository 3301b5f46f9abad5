//! The deduplication token by which ClickHouse recognises a part, and the ids of its INSERTs. Pure.

use uuid::Uuid;

use super::range::Range;
use crate::fault::{Fault, is_injected};
use crate::target::Target;

/// The deduplication token of a part: the same rows always have the same one, and no other rows ever have it. `digest` is
/// that of its own records, see [`crate::batch::Batch::digest_of`].
pub fn token(target: &Target, partition: i32, range: Range, month: u32, digest: u128) -> String {
    let Range { first, last } = range;
    let Target { database, table, topic_id, .. } = target;
    let version = if is_injected(Fault::RandomToken) { Uuid::now_v7().to_string() } else { "v3".to_owned() };
    format!("{version}:{database}.{table}:{topic_id}:{partition}:{first}-{last}:{month}:{digest:032x}")
}

/// What the ids of all INSERTs of a topic partition into its table begin with, whoever sends them.
pub fn insert_prefix(target: &Target, partition: i32) -> String {
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
    format!("{}{}-{}:{month}", insert_prefix(target, partition), range.first, range.last)
}
