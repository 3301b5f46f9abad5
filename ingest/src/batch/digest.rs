//! The digest of a batch's offsets, raw keys and payloads, which identifies its records. It does not depend on the encoding.
//! Pure.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// A record of a batch, without its key and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordDigest {
    pub(super) offset: i64,
    /// Of the raw key and payload.
    digest: u64,
}

impl RecordDigest {
    pub(super) fn new(offset: i64, key: Option<&[u8]>, payload: Option<&[u8]>) -> Self {
        Self { offset, digest: digest_of(key, payload) }
    }
}

/// The digest of a list of records.
pub(super) fn digest<'a>(records: impl IntoIterator<Item = &'a RecordDigest>) -> u128 {
    let mut digest = Xxh3::new();
    for RecordDigest { offset, digest: record } in records {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&offset.to_le_bytes());
        bytes[8..].copy_from_slice(&record.to_le_bytes());
        digest.update(&bytes);
    }
    digest.digest128()
}

/// The digest of one record. Its seed contains both lengths, all ones for null, so that ("ab", "c") and ("a", "bc") differ.
fn digest_of(key: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    let seed = length(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length(payload);
    let seed = xxh3_64_with_seed(key.unwrap_or_default(), seed);
    xxh3_64_with_seed(payload.unwrap_or_default(), seed)
}
