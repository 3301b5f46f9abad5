//! Messages to the consume loop about writes, commits, Kafka and operators, and the assignment that each belongs to.
//! The writer, the commits, the monitor and the operator's endpoints send them; [`crate::lane::assignment`] handles them. This
//! module makes no decision.

pub mod request;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::dead_letter::breaker::RejectedRecord;
use crate::exactly_once::commit::Outcome;
use crate::exactly_once::range::Range;
use crate::exactly_once::takeover::Continuation;
use crate::kafka::offsets::PartitionOffsets;
use crate::kafka::watermarks::Watermarks;
use request::Request;

/// Identifies one assignment of one topic partition to this worker. Events of an earlier epoch are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssignmentId {
    /// Index of the pipeline.
    pub pipeline: usize,
    /// Partition of the pipeline's topic.
    pub partition: i32,
    /// Number of the assignment, unique in this process.
    pub epoch: u64,
}

/// A row that ClickHouse refuses. Refusals are listed in the order of the part's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Number of rows of the part, none of them refused, between the previous refusal and this one.
    pub accepted_before: u64,
    /// Offset of the row's record.
    pub offset: i64,
    /// The tenant and the reason.
    pub rejected: RejectedRecord,
}

/// What happened outside the consume loop.
#[derive(Debug)]
pub enum Event {
    /// A batch is durable.
    Written {
        /// Assignment of the batch.
        assignment: AssignmentId,
        /// Offsets of the batch.
        range: Range,
        /// Number of rows in the table, acknowledged or found there.
        landed: u64,
        /// Number of records that the dead-letter topic acknowledged.
        dead_lettered: u64,
    },
    /// ClickHouse refuses rows of a batch that is being written. The writer waits for the reply before it sends anything.
    Refused {
        /// Assignment of the batch.
        assignment: AssignmentId,
        /// The rows, in order.
        rows: Vec<Refusal>,
        /// Offsets of the batch's records that have already been dead-lettered.
        dead_lettered: Vec<i64>,
        /// Receives whether they may become dead letters; otherwise the breaker has opened and the batch is dropped. Closed
        /// without a reply if the assignment has ended.
        reply: oneshot::Sender<bool>,
    },
    /// A request from an operator.
    Command(Request),
    /// The quick retries are used up, or an operator is needed; probing continues.
    Stalled {
        /// Assignment of the batch.
        assignment: AssignmentId,
        /// The cause, without any content of records.
        why: String,
    },
    /// An operator has to decide. Nothing of the batch is discarded, and it is not retried.
    Stopped {
        /// Assignment of the batch.
        assignment: AssignmentId,
        /// The reason, without any content of records.
        why: String,
    },
    /// Kafka has returned the offsets of a partition, or the query failed and is retried.
    Located {
        /// Assignment of the partition.
        assignment: AssignmentId,
        /// The offsets, or why there are none.
        offsets: Result<PartitionOffsets, String>,
    },
    /// Kafka has returned the ends of a partition's log, or the query failed and is retried.
    Watermarks {
        /// Assignment of the partition.
        assignment: AssignmentId,
        /// The ends, or why there are none.
        ends: Result<Watermarks, String>,
    },
    /// The table and the dead-letter topic have returned which records of a partition they hold.
    Opened {
        /// Assignment of the partition.
        assignment: AssignmentId,
        /// How to continue.
        continuation: Continuation,
        /// Offsets of announced ranges that an earlier owner has dead-lettered, in order.
        letters: Vec<i64>,
    },
    /// The next record of a partition cannot be read.
    Unreadable {
        /// Assignment of the partition.
        assignment: AssignmentId,
        /// Offset of the record.
        offset: i64,
    },
    /// A commit has completed.
    Committed {
        /// Assignments whose offsets the commit holds.
        assignments: Vec<AssignmentId>,
        /// Result of the commit.
        outcome: Outcome,
    },
}

/// Sends an event to the consume loop. Once the loop has ended, the event is dropped and its offsets stay uncommitted.
pub(crate) async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        warn!("the consume loop has ended; offsets stay uncommitted");
    }
}
