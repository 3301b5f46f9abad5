//! The state machine of one assigned topic partition.
//! It handles decoded and rejected records, the clock and the writer's events, and returns sealed batches and commits. It
//! performs no I/O; its owner does. It never returns a batch before the batch's range is announced to Kafka.
//!
//! # Layout
//! - [`state`]: the state of a partition, from its first record to its watermark
//! - [`flow`], with [`hold`]: why intake is paused, and the resulting pause or resume for Kafka's client
//! - [`fetch`] and [`progress`]: which records Kafka has for the partition, and whether they arrive
//! - [`breaking`]: how the breaker opens and is reset
//! - [`growth`]: how far a batch may grow in a backlog

mod breaking;
mod fetch;
mod flow;
mod growth;
mod hold;
mod progress;
mod state;

pub use fetch::{FetchState, FetchStats};
pub use hold::{Flow, Hold};
pub use state::Partition;

#[cfg(test)]
mod tests;
