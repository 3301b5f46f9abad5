//! What an operator asks of a running worker, and what the worker answers. Plain data.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Which partitions are meant; all of those that are not narrowed down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Topic with its namespace.
    pub topic: Option<String>,
    /// Partition of it.
    pub partition: Option<i32>,
}

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Say where the partitions stand.
    Status,
    /// Take nothing more in; what was taken in is written and committed.
    Pause,
    /// Undo a pause.
    Resume,
    /// Close the breaker.
    Reset,
}

/// A command on its way to the consume loop.
#[derive(Debug)]
pub struct Request {
    /// What is wanted.
    pub command: Command,
    /// Of which partitions.
    pub which: Which,
    /// Where the answer goes: the partitions of this worker that it changed, or all that are meant where it asks only.
    pub answer: oneshot::Sender<Result<Vec<PartitionStatus>, UnknownTopic>>,
}

/// A topic that no pipeline of the worker consumes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("find topic {0}: no pipeline of this worker consumes it")]
pub struct UnknownTopic(pub String);

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Topic with its namespace.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The next offset to take in.
    pub position: i64,
    /// The offset below which nothing is missing, where that is known.
    pub watermark: Option<i64>,
    /// The group's offset, as far as this worker knows.
    pub committed: Option<i64>,
    /// Records that can be read and are not done, once the end of the log was heard of.
    pub lag: Option<i64>,
    /// Records that cannot be read until a transaction ends, likewise.
    pub held_back: Option<i64>,
    /// Why nothing is taken in; empty while it flows.
    pub holds: Vec<String>,
    /// What is in the way, where something is.
    pub trouble: Option<String>,
    /// Ranges that are sealed and not yet committed.
    pub ranges: usize,
    /// Bytes in the open batch and in those that wait.
    pub bytes: usize,
}
