//! What the consume loop is told of everything that goes on beside it, and of whose partition.
//! Plain data: the writer, the commits and the operator's pages make it, [`crate::lane::assignment`] takes it in.

pub mod request;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::dead_letter::breaker::Poison;
use crate::exactly_once::commit::Outcome;
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::Continuation;
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::watermarks::Watermarks;
use request::Request;

/// One assignment of one topic partition to this worker. What belongs to an earlier epoch no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assigned {
    /// Index of the pipeline.
    pub pipeline: usize,
    /// Partition of its topic.
    pub partition: i32,
    /// Number of the assignment, unique in this process.
    pub epoch: u64,
}

/// A row that ClickHouse refuses, in the order of its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Rows of its part between the refusal before it and this one, which nothing is known against.
    pub fine: u64,
    /// Offset of its record.
    pub offset: i64,
    /// Whose it is and why.
    pub poison: Poison,
}

/// What happened while the consume loop went on.
#[derive(Debug)]
pub enum Event {
    /// Everything in it is durable.
    Written {
        /// Whose batch.
        owner: Assigned,
        /// Its offsets.
        range: Range,
        /// Rows that are in the table, found there or acknowledged.
        landed: u64,
        /// Records that the dead-letter topic acknowledged.
        dead_lettered: u64,
    },
    /// ClickHouse refuses rows of a batch that is being written. Nothing is sent before the answer.
    Refused {
        /// Whose batch.
        owner: Assigned,
        /// The rows, in order.
        rows: Vec<Refusal>,
        /// Offsets of records of the batch that are dead letters by now.
        sent: Vec<i64>,
        /// Whether they may become dead letters; else the breaker has opened and the batch is let go. Dropped where the
        /// assignment has ended.
        answer: oneshot::Sender<bool>,
    },
    /// An operator wants something.
    Command(Request),
    /// The quick retries are used up, or an operator is needed; probing goes on.
    Stalled {
        /// Whose batch.
        owner: Assigned,
        /// What is in the way, without data.
        why: String,
    },
    /// Only an operator can decide; nothing of the batch is given up and nobody tries further.
    Stopped {
        /// Whose batch.
        owner: Assigned,
        /// What was found, without data.
        why: String,
    },
    /// Kafka has said where a partition of ours begins, or why it does not; it is asked again.
    Located {
        /// Whose partition.
        owner: Assigned,
        /// What it said.
        found: Result<PartitionOffsets, String>,
    },
    /// Kafka has said where the log of a partition ends, or why it does not; it is asked again.
    Watermarks {
        /// Whose partition.
        owner: Assigned,
        /// What it said.
        ends: Result<Watermarks, String>,
    },
    /// The table has said what it holds of a partition.
    Opened {
        /// Whose partition.
        owner: Assigned,
        /// How to continue.
        continuation: Continuation,
        /// Offsets of announced ranges that an earlier owner has dead-lettered, in order.
        letters: Vec<i64>,
    },
    /// The record that comes next in a partition cannot be read.
    Unreadable {
        /// Whose partition.
        owner: Assigned,
        /// Its offset.
        offset: i64,
    },
    /// A commit has ended.
    Committed {
        /// Whose offsets.
        owner: Vec<Assigned>,
        /// What came of it.
        outcome: Outcome,
    },
}

/// Tells the consume loop. It listens until the worker has ended; what is not told then stays uncommitted.
pub(crate) async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        warn!("the consume loop has ended; offsets stay uncommitted");
    }
}
