//! What ingest asks Kafka beyond consuming and producing records.
//! Clients, topics and partitions go in; facts come out. It never commits an offset.
//!
//! # Layout
//! - [`standing`]: committed offsets and the bounds of logs
//! - [`log_ends`]: start, last stable offset and high watermark of many partitions at once
//! - [`topic_id`] and [`topic_config`]: the identity and the settings of a topic
//! - [`fetch`]: how much a consumer may fetch ahead
//! - [`headers`]: the headers of a consumed record
//! - [`unreadable`]: which records the client cannot read

pub mod offsets;
pub mod watermarks;

pub mod fetch;
pub mod headers;
pub mod topic_config;
pub mod topic_id;
pub mod unreadable;
