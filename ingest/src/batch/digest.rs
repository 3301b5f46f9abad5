//! What tells the records of a batch from any others: a digest of their offsets, raw keys and payloads, which does not change
//! with the encoding. Pure.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// A record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) offset: i64,
    /// Of its raw key and payload.
    digest: u64,
}

impl Taken {
    pub(super) fn new(offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) -> Self {
        Self { offset, digest: digest_of(key, payload) }
    }
}

/// The digest of these records.
pub(super) fn digest<'a>(records: impl IntoIterator<Item = &'a Taken>) -> u128 {
    let mut digest = Xxh3::new();
    for Taken { offset, digest: record } in records {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&offset.to_le_bytes());
        bytes[8..].copy_from_slice(&record.to_le_bytes());
        digest.update(&bytes);
    }
    digest.digest128()
}

/// Digest of one record. The length of the key, or all ones for null, keeps ("ab", "c") and ("a", "bc") apart.
fn digest_of(key: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    let seed = length(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length(payload);
    let seed = xxh3_64_with_seed(key.unwrap_or_default(), seed);
    xxh3_64_with_seed(payload.unwrap_or_default(), seed)
}
