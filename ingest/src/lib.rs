//! Kafka topics to ClickHouse tables: consume, decode, batch, write, commit.
//!
//! [`run`] runs a worker until it is told to stop and returns a [`Summary`]. An offset is committed only when every record
//! at or below it is in its table or acknowledged by the dead-letter topic.
//!
//! # Layout, from top to bottom
//! A module uses those below it and none above.
//!
//! - [`pipeline`]: the wiring, in flow order; read it first
//! - [`start`]: what is checked before the first record
//! - [`operator`]: what an operator's commands need
//! - [`lane`]: one consumer group: the consumer, its partitions, and their order
//! - [`mod@write`]: a sealed batch becomes durable
//! - [`event`]: what the lane is told
//! - [`decode`]: a payload becomes a row, or is rejected with a reason
//! - [`clickhouse`]: the store: its client, error codes, SQL, look-ups and rebuilds
//! - [`dead_letter`]: where records go that cannot land
//! - [`observe`]: metrics and health
//! - [`batch`]: rows become batches of one offset range, within a memory budget
//! - [`exactly_once`]: ranges, intents, commits, tokens and leases
//! - [`kafka`]: what is asked of Kafka beyond consuming and producing
//! - [`config`], [`target`], [`failure`], [`clock`]: settings and types that everything uses

// Sizes of data are narrowed here, and a number that is cut off would be a row cut off.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

pub mod batch;
pub mod clickhouse;
pub mod clock;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod event;
pub mod exactly_once;
pub mod failure;
mod fault;
pub mod kafka;
pub mod lane;
pub mod observe;
pub mod operator;
pub mod pipeline;
pub mod start;
pub mod target;
pub mod write;

pub use lane::summary::{Counts, Summary};
pub use pipeline::{Error, run};
