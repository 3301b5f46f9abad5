//! The services that the lane uses: the writer, the budget, the monitor, metrics and status. It creates and starts none
//! of them.

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

/// The services that the lane uses.
#[derive(Debug, Clone)]
pub struct Services {
    /// Writes batches.
    pub writer: Arc<Writer>,
    /// Limits the bytes in flight.
    pub budget: Arc<Budget>,
    /// Metrics of the worker.
    pub metrics: Arc<Metrics>,
    /// Health and readiness of the worker.
    pub status: Arc<Status>,
    /// Queries Kafka for the offsets and log ends of partitions.
    pub monitor: Arc<Monitor>,
    /// Detects topics that were deleted and recreated.
    pub topic_ids: Arc<TopicIds>,
    /// Runs the writes.
    pub runtime: Handle,
    /// Time for which a partition counts as assigned to this worker after Kafka has confirmed it.
    pub lease: Duration,
    /// Limits of the breaker.
    pub breaker: config::Breaker,
}
