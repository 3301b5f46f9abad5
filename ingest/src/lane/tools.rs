//! What the lane works with: the writer, the budget, and what it asks and reports to. Plain data.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::monitor::Monitor;
use crate::batch::budget::Budget;
use crate::config;
use crate::kafka::topic_id::TopicIds;
use crate::observe::health::Status;
use crate::observe::metrics::Metrics;
use crate::write::Writer;

/// What the assignment works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Writes batches.
    pub writer: Arc<Writer>,
    /// Bytes on their way.
    pub budget: Arc<Budget>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What the worker says about itself.
    pub status: Arc<Status>,
    /// Asks Kafka where partitions begin and end.
    pub monitor: Arc<Monitor>,
    /// Tells whether topics are still the ones they were.
    pub topic_ids: Arc<TopicIds>,
    /// Runs the writes.
    pub runtime: Handle,
    /// How long a partition may be trusted to be ours after Kafka has said so.
    pub lease: Duration,
    /// When a partition with nothing but poison stops.
    pub breaker: config::Breaker,
}
