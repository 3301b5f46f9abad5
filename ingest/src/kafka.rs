//! Requests to Kafka other than consuming and producing records. It never commits an offset.
//!
//! # Layout
//! - [`offsets`]: committed offsets and the bounds of logs
//! - [`watermarks`]: start, last stable offset and high watermark of many partitions at once
//! - [`topic_id`] and [`topic_config`]: the identity and the settings of a topic
//! - [`fetch`]: bounds how much a consumer fetches ahead
//! - [`headers`]: the headers of a consumed record
//! - [`unreadable`]: finds records that the client cannot read

pub mod offsets;
pub mod watermarks;

pub mod fetch;
pub mod headers;
pub mod topic_config;
pub mod topic_id;
pub mod unreadable;
