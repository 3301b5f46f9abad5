//! A column of any type, and any JSON value for it. The first line of an input is the type as ClickHouse writes it, the rest is
//! the value. It ignores inputs with a type that the reader here does not support.

use bytesize::ByteSize;
use sluice_ingest::config::{Limits, Pipeline};

use crate::table::Table;

/// Maximum length of a type, in bytes. Types come only from ClickHouse, which limits their nesting.
const MAX_TYPE_BYTES: usize = 200;
/// Maximum number of digits of a number in a type: it may be the length of a `FixedString`, which needs as much memory.
const MAX_DIGITS: usize = 3;

/// Checks one input.
///
/// # Panics
/// If an invariant is violated.
pub fn check(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (column_type, value) = (&input[..end], &input[end + 1..]);
    let Ok(column_type) = std::str::from_utf8(column_type) else { return };
    let max_digits = column_type.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default();
    if column_type.len() > MAX_TYPE_BYTES || max_digits > MAX_DIGITS {
        return;
    }
    let limits = Limits { string: ByteSize::b(300), depth: 8, keys: 32, ..Limits::default() };
    // A configured column is always written, even if it has a default.
    let columns = [("v".to_owned(), "v".to_owned())].into();
    let pipeline = Pipeline { table: "t".to_owned(), columns, tenant: String::new(), limits, ..Pipeline::default() };
    let payload = [b"{\"v\":", value, b"}"].concat();
    for kind in ["", "DEFAULT"] {
        if let Some(mut table) = Table::new(&pipeline, &[("v", column_type, kind)], "") {
            table.check(&payload);
        }
    }
}
