//! This worker's membership in the consumer group: it consumes records and commits offsets.
//! It owns the consumer, the assigned partitions, and the order in which their batches are written and committed. It waits
//! for no store, except for writes and commits in flight when partitions are revoked, with deadlines.
//!
//! # Layout
//! - [`consume`]: the consumer and its poll loop
//! - [`rebalance`]: assigned and revoked partitions
//! - [`assignment`]: all partitions of this worker
//! - [`partition`]: the state of one partition
//! - [`monitor`]: queries to Kafka about partitions, on a separate thread
//! - [`ready_pipeline`] and [`services`]: the pipelines, and the services that the lane uses
//! - [`summary`]: what a worker did
//! - [`log_throttle`]: limits how often the same client error is logged

pub mod assignment;
pub mod consume;
pub mod log_throttle;
pub mod monitor;
pub mod partition;
pub mod ready_pipeline;
pub mod rebalance;
pub mod services;
pub mod summary;
