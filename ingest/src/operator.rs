//! What an operator's commands need; a running worker uses none of it but [`control`].
//!
//! # Layout
//! - [`control`]: requests to a running worker over HTTP
//! - [`offsets`] and [`backlog`]: the group's offsets, and what it has yet to read
//! - [`audit`]: whether every record has its place
//! - [`dlq`]: listing and replaying dead letters

pub mod lag;

pub mod audit;
pub mod control;
pub mod dlq;
pub mod offsets;
