//! Messages to the consume loop about writes, commits, Kafka and operators, and the assignment that each belongs to.
//! Plain data: the writer, the commits, the monitor and the operator's endpoints send it, [`crate::lane::assignment`]
//! handles it.

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

/// One assignment of one topic partition to this worker. Events of an earlier epoch are dropped.
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
    /// Rows of its part between the previous refusal and this one, none of which is refused.
    pub accepted_before: u64,
    /// Offset of its record.
    pub offset: i64,
    /// Its tenant and the reason.
    pub poison: Poison,
}

/// What happened outside the consume loop.
#[derive(Debug)]
pub enum Event {
    /// A batch is durable.
    Written {
        /// Assignment of the batch.
        owner: Assigned,
        /// Its offsets.
        range: Range,
        /// Rows in the table, acknowledged or found there.
        landed: u64,
        /// Records that the dead-letter topic acknowledged.
        dead_lettered: u64,
    },
    /// ClickHouse refuses rows of a batch that is being written. The writer waits for the answer before it sends anything.
    Refused {
        /// Assignment of the batch.
        owner: Assigned,
        /// The rows, in order.
        rows: Vec<Refusal>,
        /// Offsets of the batch's records that have already been dead-lettered.
        sent: Vec<i64>,
        /// Whether they may become dead letters; otherwise the breaker has opened and the batch is dropped. Closed without an
        /// answer if the assignment has ended.
        answer: oneshot::Sender<bool>,
    },
    /// A request of an operator.
    Command(Request),
    /// The quick retries are used up, or an operator is needed; probing continues.
    Stalled {
        /// Assignment of the batch.
        owner: Assigned,
        /// The cause, without data.
        why: String,
    },
    /// An operator has to decide. Nothing of the batch is discarded, and it is not retried.
    Stopped {
        /// Assignment of the batch.
        owner: Assigned,
        /// What was found, without data.
        why: String,
    },
    /// Kafka has returned the offsets of a partition, or the query failed and is retried.
    Located {
        /// Assignment of the partition.
        owner: Assigned,
        /// The offsets, or why there are none.
        found: Result<PartitionOffsets, String>,
    },
    /// Kafka has returned the ends of a partition's log, or the query failed and is retried.
    Watermarks {
        /// Assignment of the partition.
        owner: Assigned,
        /// The ends, or why there are none.
        ends: Result<Watermarks, String>,
    },
    /// The table and the dead-letter topic have returned what they hold of a partition.
    Opened {
        /// Assignment of the partition.
        owner: Assigned,
        /// How to continue.
        continuation: Continuation,
        /// Offsets of announced ranges that an earlier owner has dead-lettered, in order.
        letters: Vec<i64>,
    },
    /// The next record of a partition cannot be read.
    Unreadable {
        /// Assignment of the partition.
        owner: Assigned,
        /// Its offset.
        offset: i64,
    },
    /// A commit has completed.
    Committed {
        /// Assignments whose offsets it holds.
        owners: Vec<Assigned>,
        /// Its result.
        outcome: Outcome,
    },
}

/// Sends an event to the consume loop. Once the loop has ended, the event is dropped and its offsets stay uncommitted.
pub(crate) async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        warn!("the consume loop has ended; offsets stay uncommitted");
    }
}
