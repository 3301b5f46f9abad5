//! Exactly-once delivery: announced ranges, committed offsets, tokens and leases.
//! Its only I/O is in [`commit`]: the call that commits, and the request for the topic's ID before it. It never writes to a
//! store.
//!
//! # Layout
//! - [`range`]: the offsets of a batch
//! - [`intent`]: the ranges announced in the metadata of an offset commit
//! - [`commit`]: when a commit is due, the calls to Kafka, and the acknowledgement
//! - [`ledger`]: which offset may be committed, and which ranges are announced with it
//! - [`takeover`]: where a new owner of a partition begins, and what it has to check
//! - [`token`]: deduplication tokens
//! - [`lease`]: how long a worker may assume that a partition is still assigned to it

pub mod commit;
pub mod intent;
pub mod lease;
pub mod ledger;
pub mod range;
pub mod takeover;
pub mod token;
