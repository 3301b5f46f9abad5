//! A column of any type, and any JSON value for it.
//! The first line of an input is the type as ClickHouse writes it, the rest is the value. A type that ingest takes is
//! one that the reader here knows too, or the input is passed over.

use bytesize::ByteSize;
use sluice_ingest::config::{Limits, Pipeline};

use crate::table::Table;

/// Longest type. ClickHouse bounds how deep types are nested, and the text of a type comes from nobody else.
const LONGEST_TYPE: usize = 200;
/// Most digits of a number in a type: a `FixedString` takes as much memory as it says.
const MOST_DIGITS: usize = 3;

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn check(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (of, value) = (&input[..end], &input[end + 1..]);
    let Ok(of) = std::str::from_utf8(of) else { return };
    let longest_number = of.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or_default();
    if of.len() > LONGEST_TYPE || longest_number > MOST_DIGITS {
        return;
    }
    let limits = Limits { string: ByteSize::b(300), depth: 8, keys: 32, ..Limits::default() };
    // A column that is named has to be written, default or not.
    let columns = [("v".to_owned(), "v".to_owned())].into();
    let pipeline = Pipeline { table: "t".to_owned(), columns, tenant: String::new(), limits, ..Pipeline::default() };
    let payload = [b"{\"v\":", value, b"}"].concat();
    for kind in ["", "DEFAULT"] {
        if let Some(mut table) = Table::new(&pipeline, &[("v", of, kind)], "") {
            table.check(&payload);
        }
    }
}
