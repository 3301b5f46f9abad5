//! Batch: records of one topic partition become batches.
//! A sealed [`Batch`] is one contiguous offset range, with its rows grouped by month. Clocked by the caller, no I/O. It never
//! mixes partitions and never omits an offset.
//!
//! # Layout
//! - [`limits`]: when a batch is sealed, and for which reason
//! - [`open`] and [`sealed`]: a batch before and after it is sealed
//! - [`part`]: the rows of one month, which land together
//! - [`rows`], based on [`body`]: encoded rows; no other module depends on their layout in memory
//! - [`digest`]: identifies the records of a batch
//! - [`budget`]: limits the bytes of all batches

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
