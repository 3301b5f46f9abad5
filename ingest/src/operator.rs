//! The operator's commands; a running worker uses only [`control`].
//!
//! # Layout
//! - [`control`]: requests to a running worker over HTTP
//! - [`offsets`] and [`lag`]: the group's offsets, and the records that it has yet to read
//! - [`audit`]: checks that every record is accounted for
//! - [`dlq`]: lists and replays dead letters

pub mod audit;
pub mod control;
pub mod dlq;
pub mod lag;
pub mod offsets;
