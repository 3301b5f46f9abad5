//! Aggregate tables that may lack rows of their base: a month of each is made anew from the raw rows and put in the place
//! of the old one. A table and a month go in; what its views write to, and the views on that, comes out as if each row had
//! been counted once. It never touches the raw rows, nor a table that something else writes to as well.
//!
//! Needed where an INSERT landed in the base table, its views are in doubt, and its token is too old to send it again.
//! While it runs nothing else may write to that month: this worker's own INSERTs into that table wait, INSERTs of others
//! that began earlier are waited for, and later ones are noticed, upon which it begins again.
//!
//! # Layout
//! - [`run`]: one month, from its checks to its replacement
//! - [`scope`]: what a rebuild is about
//! - [`statement`]: what its steps send
//! - [`abandoned`]: ends what ClickHouse still does for a rebuild that nobody waits for
//! - [`check`]: what has to be so before a rebuild could do any good
//! - [`gate`]: INSERTs and rebuilds of this worker, one table at a time
//! - [`lock`]: one rebuild at a time among all workers and operators
//! - [`trace`]: whether somebody else writes
//! - [`ttl`]: whether a TTL may have removed raw rows

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
