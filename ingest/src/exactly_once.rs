//! What makes a record land once: announced ranges, committed offsets, tokens and leases.
//! Pure but for the commit call itself. It never writes to a store.
//!
//! # Layout
//! - [`range`]: the offsets of a batch
//! - [`intent`]: the ranges announced beside a committed offset
//! - [`commit`]: when a commit is due, the call to Kafka, and its acknowledgement
//! - [`ledger`]: which offset may be committed, and what is announced with it
//! - [`takeover`]: where a new owner of a partition begins, and what it has to check
//! - [`token`]: by what a repeated part is recognised
//! - [`lease`]: how long a worker may assume that it still owns a partition

pub mod commit;
pub mod intent;
pub mod lease;
pub mod ledger;
pub mod range;
pub mod takeover;
pub mod token;
