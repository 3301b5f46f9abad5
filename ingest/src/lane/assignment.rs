//! All partitions that are assigned to this worker.
//! It handles records, events and the clock, passes batches to the writer, and returns changes for Kafka (pause, resume,
//! commits). It makes no call to Kafka itself.
//!
//! # Layout
//! - [`state`]: the partitions, and how events change them
//! - [`intake`]: puts records into open batches
//! - [`opening`]: opens a partition, from its assignment to its first record
//! - [`pressure`], with [`shortage`]: which partitions pause when memory is short
//! - [`operator`], with [`pauses`], and [`alarm`]: requests of an operator, and alarms
//! - [`unreadable`]: records that Kafka's client cannot read

mod alarm;
mod intake;
mod opening;
mod operator;
mod pauses;
mod pressure;
mod shortage;
mod state;
mod unreadable;

pub use state::Assignment;
