//! All partitions that this worker owns, and what has to happen to them next.
//! Records, events of the writer and the clock go in; batches are handed to the writer, and what Kafka has to be told
//! (pause, resume, offsets) comes out. It makes no call to Kafka itself.
//!
//! # Layout
//! - [`state`]: the partitions, and what events change about them
//! - [`intake`]: a record's way into its partition's open batch
//! - [`opening`]: a partition's way from its assignment to its first record
//! - [`pressure`], with [`shortage`]: which partition pauses when memory is short
//! - [`operator`], with [`pauses`], and [`alarm`]: what an operator asks, and what an operator is told
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
