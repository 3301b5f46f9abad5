//! One assigned topic partition from its opening to its watermark.
//! Decoded and rejected records, the clock and the writer's events go in; sealed batches and commits come out. It holds
//! no connection; whoever owns it does the I/O. It never hands out a batch that Kafka does not know of.
//!
//! # Layout
//! - [`state`]: what is known about a partition, from its first record to its watermark
//! - [`flow`], with [`hold`]: why it takes nothing in, and what Kafka's client has to be told
//! - [`supply`] and [`progress`]: what Kafka has for it, and whether it comes
//! - [`breaking`]: what happens when its breaker opens
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
