//! Stage two: a fetched record becomes one row of its table, or is rejected with a reason.
//! A payload goes in; RowBinary bytes are appended to the caller's buffer, or nothing is. Pure: no I/O, no clock, no
//! allocation for a sane record. It never guesses a value and never alters one to make it fit.
//!
//! # Layout
//! - [`decoder`]: payloads become rows; [`reason`]: why one does not
//! - [`json`], with [`marks`]: one strict pass over the text, spans out
//! - [`value`] and [`nested`]: one JSON value into one RowBinary value
//! - [`number`], [`time`], [`hex`] and [`escape`]: what values are written with
//! - [`fields`], with [`key`]: which JSON field feeds which column
//! - [`canonical`]: what tells a decoder from another one
//! - [`table`]: a table's shape and a pipeline's mapping become a [`Decoder`]

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
