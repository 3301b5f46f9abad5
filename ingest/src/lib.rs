//! Kafka topics to ClickHouse tables: consume, decode, batch, write, commit.
//!
//! [`run`] is the whole of it: settings in, a [`Summary`] out after a drained shutdown. An offset is committed only when
//! every record at or below it is in its table or acknowledged by the dead-letter topic.
//!
//! # Layout
//! - [`pipeline`]: the wiring, in flow order; read it first
//! - [`consume`]: the consumer, its loop and its rebalances
//! - [`assignment`] and [`partition`]: what this worker owns, and the life of one partition
//! - [`decode`]: a payload becomes a row, or is rejected with a reason
//! - [`batch`]: rows become batches of one offset range
//! - [`mod@write`]: batches become durable
//! - [`commit`]: which offset may be committed
//! - [`dead_letter`]: where records go that cannot land
//! - [`budget`] and [`retry`]: how much may be on its way, and when to try again
//! - [`config`], [`metrics`], [`health`], [`headers`], [`topic_id`]: what surrounds them

pub mod assignment;
pub mod batch;
pub mod budget;
pub mod commit;
pub mod config;
pub mod consume;
pub mod dead_letter;
pub mod decode;
pub mod headers;
pub mod health;
pub mod metrics;
pub mod partition;
pub mod pipeline;
pub mod retry;
pub mod topic_id;
pub mod write;

pub use pipeline::{Counts, Error, Summary, run};
