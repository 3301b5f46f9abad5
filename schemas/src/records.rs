//! The record types of the platform and their exact wire formats. The generator sends them and the tests read them;
//! ingest takes its columns from the pipeline's mapping and the table. This module never accesses a store.
//!
//! On Kafka, each record is one JSON object in UTF-8, without a schema wrapper; timestamps are RFC 3339 in UTC with
//! milliseconds (`2026-11-24T08:33:26.123Z`); identifiers are hyphenated lowercase UUIDs.

mod dead_letter;
mod event;
mod millis;
mod platform;
mod state;
mod value;

pub use self::dead_letter::{DeadLetter, HeadersLeftOut, dead_letter_header};
pub use self::event::{AgentMetric, CommunicationEvent, CustomerInteraction, EventMetadata};
pub use self::platform::{Campaign, Communication, Content, Customer};
pub use self::state::{AgentMessage, AgentState, Session};
pub use self::value::{Channel, Direction, EventType, InteractionType};

/// Size of the largest JSON record that the platform's producers send, in bytes.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;
