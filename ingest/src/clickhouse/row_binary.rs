//! The parts of ClickHouse's RowBinary format that several modules need. It performs no I/O.

use crate::clickhouse::failures;
use crate::failure::Failure;

/// Appends a string: its length, then its bytes.
pub(crate) fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    push_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends a length or a count as LEB128.
pub(crate) fn push_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
}

/// The values of a result whose columns all have eight bytes, row by row.
pub(crate) fn numbers(body: &[u8]) -> Result<Vec<i64>, Failure> {
    let (numbers, remainder) = body.as_chunks();
    if !remainder.is_empty() {
        return Err(failures::not_a_response("a body that is not a whole number of eight-byte values"));
    }
    Ok(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}
