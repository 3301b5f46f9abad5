//! Errors of the commands on offsets. They select no exit code; the command line does.

use rdkafka::error::KafkaError;

use crate::clickhouse::client::ClientError;
use crate::failure::Failure;
use crate::kafka::offsets;

/// Why a command on offsets fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The group's offsets cannot be read.
    #[error(transparent)]
    TopicOffsets(#[from] offsets::Error),
    /// ClickHouse does not respond, or not as expected.
    #[error("read table {table}: {failure}; check that ClickHouse runs, and [stores.clickhouse]")]
    ClickHouse {
        /// The table.
        table: String,
        /// The failure.
        failure: Failure,
    },
    /// No pipeline consumes the topic.
    #[error("find the pipeline of topic {0}: ingest.pipelines has none of that name")]
    NoPipeline(String),
    /// The topic has no such partition.
    #[error("find partition {partition} of topic {topic}: it has {count}, numbered from 0")]
    NoPartition {
        /// The topic.
        topic: String,
        /// The requested partition.
        partition: i32,
        /// Number of partitions of the topic.
        count: usize,
    },
    /// The offset is not in the log.
    #[error("use offset {offset}: the log holds {low} to {high}; name one of these offsets, or a worker stops at once")]
    OutOfLog {
        /// The requested offset.
        offset: i64,
        /// The first offset of the log.
        low: i64,
        /// One past the last offset of the log.
        high: i64,
    },
    /// The record is readable.
    #[error("skip offset {0}: it can be read, so a worker accepts it; use `offsets set` to skip readable records")]
    Readable(i64),
    /// Earlier records have yet to land.
    #[error(
        "skip offset {offset}: the group has committed {}, and the records in between must land first; let a worker run \
         until /readyz names the offset and `offsets show` shows it as committed, then stop all workers",
        committed.map_or_else(|| "nothing".to_owned(), |at| at.to_string())
    )]
    NotNext {
        /// The requested offset.
        offset: i64,
        /// The group's committed offset.
        committed: Option<i64>,
    },
    /// The dead letters of the skipped records are not acknowledged.
    #[error("send the dead letters of the skipped records: {0}")]
    Letters(Failure),
    /// The table has no row to derive the offset from.
    #[error("accept the contents of table {0}: it has no row of this topic and partition; name an offset with --at")]
    NoRows(String),
    /// The group has members.
    #[error(
        "commit for group {0}: it has running workers, so Kafka accepts no offset from outside; stop all of them \
         (those that were killed leave when their session ends), then try again"
    )]
    Active(String),
    /// Kafka did not accept the offset.
    #[error("commit for group {group}: {cause}; check that Kafka runs, and [stores.kafka] and ingest.kafka")]
    Commit {
        /// The group.
        group: String,
        /// The client's error.
        cause: KafkaError,
    },
    /// The client of ClickHouse cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
}
