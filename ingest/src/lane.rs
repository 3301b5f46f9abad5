//! One consumer group's share of the work: records come in from Kafka, and offsets go back.
//! It owns the consumer, the partitions that the group has assigned to it, and the order in which their batches are written
//! and committed. It never waits for a store.
//!
//! # Layout
//! - [`consume`]: the consumer and its poll loop
//! - [`rebalance`]: assigned and revoked partitions
//! - [`assignment`]: all partitions of this worker
//! - [`partition`]: the state of one partition
//! - [`monitor`]: questions to Kafka about partitions, asked on a thread of their own
//! - [`source`] and [`tools`]: the pipelines, and what the lane works with
//! - [`summary`]: what a worker did
//! - [`report`]: how often the same client error is logged

pub mod log_throttle;
pub mod monitor;

pub mod assignment;
pub mod consume;
pub mod partition;
pub mod rebalance;
pub mod source;
pub mod summary;
pub mod tools;
