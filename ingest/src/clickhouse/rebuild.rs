//! Rebuilds aggregate tables that may lack rows of their base: one month of each is recomputed from the raw rows and
//! replaces the old one. A table and a month go in; afterwards everything its views write to, directly or through
//! further views, counts each row exactly once. It never touches the raw rows, nor a table that has other writers.
//!
//! Required if an INSERT landed in the base table, its views are in doubt, and its token is too old to send it again.
//! During a rebuild nothing else may write to that month: this worker's own INSERTs into the table wait, earlier
//! INSERTs of other processes are waited for, and later ones are detected and restart the rebuild.
//!
//! # Layout
//! - [`run`]: one month, from its checks to its replacement
//! - [`scope`]: the tables and views of a rebuild
//! - [`statement`]: the statements it sends
//! - [`abandoned`]: kills statements still running for a rebuild that has ended
//! - [`check`]: preconditions of a rebuild
//! - [`gate`]: this worker's INSERTs and rebuilds, one table at a time
//! - [`lock`]: one rebuild at a time across all workers and operators
//! - [`writes`]: detects other writers
//! - [`ttl`]: the TTLs that may have removed raw rows

pub mod writes;

mod abandoned;
mod check;
mod gate;
mod lock;
mod run;
mod scope;
mod statement;
mod ttl;

pub use gate::Rebuilds;
pub use run::rebuild_month;
