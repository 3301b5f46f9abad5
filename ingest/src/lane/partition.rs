//! The state machine of one assigned topic partition.
//! Decoded and rejected records, the clock and the writer's events go in; sealed batches and commits come out. It performs
//! no I/O; its owner does. It never hands out a batch before its range is announced to Kafka.
//!
//! # Layout
//! - [`state`]: the state of a partition, from its first record to its watermark
//! - [`flow`], with [`hold`]: why intake is paused, and the resulting pause or resume for Kafka's client
//! - [`supply`] and [`progress`]: which records Kafka has for it, and whether they arrive
//! - [`breaking`]: how its breaker opens and is reset
//! - [`growth`]: how far a batch may grow in a backlog

mod breaking;
mod flow;
mod growth;
mod hold;
mod progress;
mod state;
mod supply;

pub use hold::{Flow, Hold};
pub use state::Partition;
pub use supply::{Fetching, SupplyState};

#[cfg(test)]
mod tests;
