//! Makes a sealed batch durable, exactly once.
//! An announced [`Batch`] is retried until the dead-letter topic has acknowledged its dead letters and ClickHouse its parts;
//! the outcome is sent as an [`Event`]. It commits nothing, and never dead-letters a row that ClickHouse would accept.
//!
//! A part is sent whole, with a token. If it has landed before, ClickHouse recognizes the token, drops the rows and completes
//! the views. If the token may be forgotten or may differ ([`Doubt`]), the table is looked up before anything is sent.
//!
//! # Layout
//! - [`writer`]: writes a batch, from its dead letters to its last part
//! - [`job`]: a batch with its destination; [`letters`]: its dead letters; [`part`] and [`outcome`]: one of its parts
//! - [`destination`]: where a pipeline's batches go
//! - [`attempts`] and [`retry`]: when to retry, and what is reported
//! - [`confirm`] and [`trust`]: whether an acknowledgement is sufficient
//! - [`refused`]: turns refused rows into dead letters
//!
//! [`Batch`]: crate::batch::Batch
//! [`Event`]: crate::event::Event
//! [`Doubt`]: crate::exactly_once::intent::Doubt

mod attempts;
mod confirm;
pub mod destination;
mod job;
mod letters;
mod outcome;
mod part;
mod refused;
pub mod retry;
mod trust;
mod writer;

pub use job::Job;
pub use trust::ConfirmedAssignments;
pub use writer::Writer;
