//! Kafka topics to ClickHouse tables: consume, decode, batch, write, commit.
//!
//! [`run`] runs a worker until it is shut down and returns a [`Summary`]. An offset is committed only when every record
//! below it is in its table or acknowledged by the dead-letter topic.
//!
//! # Layout, from top to bottom
//! A module uses those below it and none above.
//!
//! - [`pipeline`]: the wiring of a worker; read it first
//! - [`start`]: checks before the first record
//! - [`operator`]: the implementation of an operator's commands
//! - [`lane`]: one consumer group: its consumer and its partitions
//! - [`mod@write`]: makes sealed batches durable
//! - [`event`]: messages to the consume loop
//! - [`decode`]: turns a payload into a row, or rejects it with a reason
//! - [`clickhouse`]: the store: client, error codes, SQL, lookups and rebuilds
//! - [`dead_letter`]: records that cannot land
//! - [`observe`]: metrics and health
//! - [`batch`]: rows become batches of one offset range, within a memory budget
//! - [`exactly_once`]: ranges, intents, commits, tokens and leases
//! - [`kafka`]: requests to Kafka other than consuming and producing
//! - [`config`], [`target`], [`failure`], [`clock`], `fault`: settings and types that all modules use

// A truncated length would truncate a row.
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
