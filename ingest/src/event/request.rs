//! Requests of an operator to a running worker, and the responses. It handles none of them.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Selects partitions; `None` selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionFilter {
    /// Topic with its namespace.
    pub topic: Option<String>,
    /// Partition of the topic.
    pub partition: Option<i32>,
}

/// A command of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Return the status of the partitions.
    Status,
    /// Stop intake; what was consumed is written and committed.
    Pause,
    /// Undo a pause.
    Resume,
    /// Close the breaker.
    Reset,
}

/// A command for the consume loop.
#[derive(Debug)]
pub struct Request {
    /// The command.
    pub command: Command,
    /// The partitions that the command applies to.
    pub filter: PartitionFilter,
    /// Receives the partitions of this worker that the command changed, or all selected ones for [`Command::Status`].
    pub reply: oneshot::Sender<Result<Vec<PartitionStatus>, UnknownTopic>>,
}

/// A topic that no pipeline of the worker consumes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("find topic {0}: no pipeline of this worker consumes it")]
pub struct UnknownTopic(pub String);

/// Status of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Topic with its namespace.
    pub topic: String,
    /// Number of the partition.
    pub partition: i32,
    /// The next offset to consume.
    pub position: i64,
    /// The offset below which every record is durable, if known.
    pub watermark: Option<i64>,
    /// The group's committed offset that this worker last read or committed.
    pub committed: Option<i64>,
    /// Readable records that are not durable yet; `None` until the end of the log is known.
    pub lag: Option<i64>,
    /// Records that cannot be read until a transaction ends; `None` until the end of the log is known.
    pub held_back: Option<i64>,
    /// Reasons why intake is paused; empty if it is not.
    pub holds: Vec<String>,
    /// Why the partition is stalled, if it is.
    pub trouble: Option<String>,
    /// Number of sealed ranges, starting at the first that is not durable.
    pub ranges: usize,
    /// Bytes in the open batch and in waiting sealed batches.
    pub bytes: usize,
}
