//! The decode stage: turns a fetched record into one row of its table, or rejects it with a reason.
//! It performs no I/O, reads no clock and does not allocate for an ordinary record. It never guesses a value, and never
//! alters one to make it fit: only floats, and fractions of a second beyond a column's precision, lose digits.
//!
//! # Layout
//! - [`decoder`]: turns payloads into rows; [`reason`]: why a record cannot land
//! - [`json`], with [`marks`]: one strict pass over the text that yields spans
//! - [`value`] and [`nested`]: encode one JSON value as one RowBinary value
//! - [`number`], [`time`], [`hex`] and [`escape`]: parse the text of values
//! - [`fields`], with [`key`]: maps JSON fields to columns
//! - [`canonical`]: the fingerprint of a decoder
//! - [`table`]: builds a [`Decoder`] from a table's shape and a pipeline's mapping

mod canonical;
pub(crate) mod decoder;
mod escape;
mod fields;
mod hex;
mod json;
mod key;
mod marks;
mod nested;
mod number;
mod reason;
pub mod table;
mod time;
mod value;

pub use decoder::{Decoded, Decoder, Origin, Rejected, VERSION};
pub use reason::Reason;

#[cfg(test)]
mod tests;
