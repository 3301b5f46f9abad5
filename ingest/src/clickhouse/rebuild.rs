//! Rebuilds aggregate tables that may lack rows of their base: one month of each is recomputed from the raw rows and
//! replaces the old one. Afterwards every table that the base's views write to, directly or through further views,
//! counts each row of the month exactly once. It never changes the raw rows, nor a table that has other writers.
//!
//! A rebuild is required if an INSERT landed in the base table, its views are in doubt, and its token is too old to
//! send it again. During a rebuild nothing else may write to that month: this worker's own INSERTs into the table wait,
//! the rebuild waits for earlier INSERTs of other processes, and it restarts if it detects later ones.
//!
//! # Layout
//! - [`run`]: one month, from its checks to its replacement
//! - [`scope`]: the tables and views of a rebuild
//! - [`statement`]: the statements it sends
//! - [`abandoned`]: kills statements that are still running after a rebuild has ended
//! - [`check`]: preconditions of a rebuild
//! - [`gate`]: keeps this worker's INSERTs and rebuilds of a table apart
//! - [`lock`]: allows one rebuild at a time across all workers and operators
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
