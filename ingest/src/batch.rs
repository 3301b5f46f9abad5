//! Stage three: records of one topic partition become batches.
//! Rows and dead letters go in with their offsets; a sealed [`Batch`] comes out: one contiguous offset range, its rows divided
//! by month. Clocked by the caller, no I/O. It never mixes partitions and never leaves an offset out.
//!
//! # Layout
//! - [`limits`]: when a batch is sealed, and why it was
//! - [`open`] and [`sealed`]: a batch that takes records in, and one that does not any more
//! - [`part`]: the rows of one month, which land together
//! - [`rows`], on [`body`]: encoded rows; nothing else knows how they lie in memory
//! - [`digest`]: what tells the records of a batch from any others
//! - [`budget`]: the bytes that all batches together may take

pub mod body;
pub mod budget;
mod digest;
pub mod limits;
mod open;
mod part;
pub mod rows;
mod sealed;

pub use open::OpenBatch;
pub use part::Part;
pub use sealed::Batch;

#[cfg(test)]
mod model;
