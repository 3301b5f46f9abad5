//! Decode: turns a fetched record into one row of its table, or rejects it with a reason.
//! A payload goes in; RowBinary bytes are appended to the caller's buffer, or nothing is. Pure: no I/O, no clock, no
//! allocation for an ordinary record. It never guesses a value and never alters one to make it fit.
//!
//! # Layout
//! - [`decoder`]: turns payloads into rows; [`reason`]: why a record cannot land
//! - [`json`], with [`marks`]: one strict pass over the text that yields spans
//! - [`value`] and [`nested`]: encode one JSON value as one RowBinary value
//! - [`number`], [`time`], [`hex`] and [`escape`]: parse the text of values
//! - [`fields`], with [`key`]: which JSON field feeds which column
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
