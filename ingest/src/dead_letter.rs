//! Where records go that cannot land: the dead-letter topic. It never drops a record and never writes to a table.
//!
//! # Layout
//! - [`compose`]: a consumed record becomes a dead letter
//! - [`producer`], with [`fit`], [`topic`] and [`watch`]: dead letters are sent and acknowledged, by a topic that keeps them
//! - [`letter`] and [`scan`]: they are read back
//! - [`sent`]: which records of a range that is taken over are dead letters already
//! - [`refetch`]: a record is read again from its topic
//! - [`breaker`]: when too many records cannot land

pub mod omit;

pub mod breaker;
pub mod compose;
pub mod letter;
pub mod producer;
pub mod refetch;
pub mod scan;
pub mod sent;
pub mod topic;
pub mod watch;
