//! Deduplication tokens, and the query IDs of INSERTs. It performs no I/O.

use uuid::Uuid;

use super::range::Range;
use crate::fault::{Fault, is_injected};
use crate::target::Target;

/// Returns the deduplication token of a part: the same rows always have the same token, and no other rows ever have it.
/// `digest` is that of the part's records, see [`crate::batch::Batch::digest_of`]. `resend` is 0 until an acknowledged part
/// proves to be missing; each time it is sent again, `resend` increases by 1, so that the token differs.
pub fn token(target: &Target, partition: i32, range: Range, month: u32, digest: u128, resend: u32) -> String {
    let Range { first, last } = range;
    let Target { database, table, topic_id, .. } = target;
    let version = version("v3");
    let suffix = if resend > 0 { format!(":{resend}") } else { String::new() };
    format!("{version}:{database}.{table}:{topic_id}:{partition}:{first}-{last}:{month}:{digest:032x}{suffix}")
}

/// Returns the deduplication token of a block that `sluice dlq replay` sends: one state of a block's month always has the same
/// token, and no other state ever has it. `dead_letters` is the ID of the dead-letter topic, `block` names the block, and
/// `state` is the digest of its rows and of those that the table already holds.
pub fn replay_token(
    target: &Target,
    partition: i32,
    (dead_letters, block): (Uuid, &str),
    month: u32,
    state: u128,
) -> String {
    let Target { database, table, topic_id, .. } = target;
    let version = version("replay1");
    format!("{version}:{database}.{table}:{topic_id}:{partition}:{dead_letters}:{block}:{month}:{state:032x}")
}

/// Version of a token's format.
fn version(version: &str) -> String {
    if is_injected(Fault::RandomToken) { Uuid::now_v7().to_string() } else { version.to_owned() }
}

/// Prefix of the query IDs of all INSERTs of a topic partition into its table, from any worker.
pub fn insert_prefix(target: &Target, partition: i32) -> String {
    let Target { database, table, topic_id, .. } = target;
    format!("sluice:insert:{}.{}:{topic_id}:{partition}:", escape_for_id(database), escape_for_id(table))
}

/// Escapes a name for a query ID, which ClickHouse returns in a header: every byte other than a letter, digit, `_`, `-` or `.`
/// becomes `%` and two hex digits.
fn escape_for_id(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    name.bytes().map(byte).collect()
}

/// Prefix of the query IDs of a part's INSERTs.
pub fn insert_name(target: &Target, partition: i32, range: Range, month: u32) -> String {
    format!("{}{}-{}:{month}", insert_prefix(target, partition), range.first, range.last)
}
