//! Stage four: a sealed batch becomes durable, once.
//! A [`Batch`] that Kafka knows of goes in; its dead letters are acknowledged by the dead-letter topic and its parts by
//! ClickHouse, tried again for as long as it takes; what happened is told as [`Event`]s. It commits nothing, and never
//! dead-letters a row that ClickHouse would take.
//!
//! A part is sent whole, with a token by which ClickHouse knows it again and drops it, completing its views. Where the
//! token may be forgotten or may not fit ([`Doubt`]), the table is asked before anything is sent.
//!
//! # Layout
//! - [`writer`]: a batch from its dead letters to its last part
//! - [`destination`]: where a pipeline's batches go
//! - [`attempts`] and [`retry`]: when to try again, and what is said about it
//! - [`confirm`] and [`trust`]: what an acknowledgement is worth
//! - [`refused`]: what becomes of refused rows
//!
//! [`Batch`]: crate::batch::Batch
//! [`Event`]: crate::event::Event
//! [`Doubt`]: crate::exactly_once::intent::Doubt

mod attempts;
mod confirm;
pub mod destination;
mod refused;
pub mod retry;
mod trust;
mod writer;

pub use trust::SeenAssignments;
pub use writer::{Job, Writer};
