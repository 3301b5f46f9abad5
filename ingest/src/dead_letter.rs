//! Dead letters: records that cannot land are sent to the dead-letter topic. It never drops a record and never writes
//! to a table.
//!
//! # Layout
//! - [`compose`]: turns a consumed record into a dead letter
//! - [`producer`], with [`omit`], [`topic`] and [`watch`]: sends letters and awaits their acknowledgement by a topic
//!   that keeps them
//! - [`letter`] and [`scan`]: read letters back
//! - [`sent`]: finds records of a range being taken over that already have a dead letter
//! - [`refetch`]: reads a record again from its topic
//! - [`breaker`]: stops a partition when too many records cannot land

pub mod breaker;
pub mod compose;
pub mod letter;
pub mod omit;
pub mod producer;
pub mod refetch;
pub mod scan;
pub mod sent;
pub mod topic;
pub mod watch;
