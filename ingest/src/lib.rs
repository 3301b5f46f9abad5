//! Kafka topics to ClickHouse tables: consume, decode, batch, write, commit.
//!
//! [`run`] is the whole of it: settings in, a [`Summary`] out after a drained shutdown. An offset is committed only when
//! every record at or below it is in its table or acknowledged by the dead-letter topic.
//!
//! # Layout
//! - [`pipeline`]: the wiring, in flow order; read it first
//! - [`consume`] and [`rebalance`]: the consumer and its loop, and what happens when partitions come and go
//! - [`assignment`] and [`partition`]: what this worker owns, and the life of one partition
//! - [`decode`]: a payload becomes a row, or is rejected with a reason
//! - [`batch`]: rows become batches of one offset range
//! - [`mod@write`]: batches become durable
//! - [`commit`], [`intent`] and [`lease`]: which offset may be committed, what is announced with it, and for how long a
//!   partition is surely ours
//! - [`takeover`]: where a new owner begins and what it believes
//! - [`inquiry`] and [`log_ends`]: what Kafka is asked about partitions, off the consume thread
//! - [`dead_letter`] and [`refetch`]: where records go that cannot land, and reading one again
//! - [`dlq`]: what the operator does with them
//! - [`audit`], [`offsets`], [`standing`] and [`backlog`]: whether every record has its place, where the group stands, and
//!   what it has still to read
//! - [`rebuild`]: aggregate tables made anew from the raw rows
//! - [`budget`], [`fetch`] and [`retry`]: how much may be on its way and be fetched ahead, and when to try again
//! - [`breaker`]: when records that cannot land are too many
//! - [`control`]: what an operator can ask a running worker
//! - [`clock`]: time that counts suspension, and ages of what was announced
//! - [`literal`]: ClickHouse's quotes and escapes
//! - [`config`], [`metrics`], [`health`], [`headers`], [`report`], [`topic_id`], [`unreadable`]: what surrounds them

// Sizes of data are narrowed here, and a number that is cut off would be a row cut off.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

#[macro_use]
mod failpoint;

pub mod assignment;
pub mod audit;
pub mod backlog;
pub mod batch;
pub mod body;
pub mod breaker;
pub mod budget;
pub mod clock;
pub mod commit;
pub mod config;
pub mod consume;
pub mod control;
pub mod dead_letter;
pub mod decode;
pub mod dlq;
pub mod fetch;
pub mod headers;
pub mod health;
pub mod inquiry;
pub mod intent;
pub mod lease;
mod literal;
pub mod log_ends;
pub mod metrics;
pub mod offsets;
pub mod partition;
pub mod pipeline;
pub mod rebalance;
pub mod rebuild;
pub mod refetch;
pub mod report;
pub mod retry;
pub mod standing;
pub mod takeover;
mod topic_config;
pub mod topic_id;
pub mod unreadable;
pub mod write;

pub use pipeline::{Counts, Error, Summary, run};
