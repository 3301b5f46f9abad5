//! All partitions that are assigned to this worker.
//! Records, events and the clock go in; batches are handed to the writer, and changes for Kafka (pause, resume, commits) come
//! out. It makes no call to Kafka itself.
//!
//! # Layout
//! - [`state`]: the partitions, and how events change them
//! - [`intake`]: puts records into open batches
//! - [`opening`]: from the assignment of a partition to its first record
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
