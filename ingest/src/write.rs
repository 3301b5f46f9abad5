//! Stage four: a sealed batch becomes durable.
//! A [`Batch`] goes in; its dead letters are acknowledged by the dead-letter topic and its parts by ClickHouse, tried
//! again for as long as it takes; what happened is told as [`Event`]s. It commits nothing, and it neither drops nor
//! dead-letters a row that was decoded.
//!
//! # Layout
//! - [`clickhouse`]: one HTTP request, one answer
//! - [`failure`]: the table of error codes and their classes

pub mod clickhouse;
pub mod failure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tracing::{error, info, warn};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::batch::{Batch, Part};
use crate::commit::Range;
use crate::config::Retry;
use crate::dead_letter::DeadLetters;
use crate::metrics::{Metrics, Stage};
use crate::retry::{Class, Decision, decide};
use clickhouse::ClickHouse;
use failure::Failure;

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

/// What happened while the consume loop went on.
#[derive(Debug)]
pub enum Event {
    /// Everything in it is durable.
    Written {
        /// Whose batch.
        of: Assigned,
        /// Its offsets.
        range: Range,
        /// Rows that ClickHouse acknowledged.
        landed: u64,
        /// Records that the dead-letter topic acknowledged.
        dead_lettered: u64,
    },
    /// The quick retries are used up, or an operator is needed; probing goes on.
    Stalled {
        /// Whose batch.
        of: Assigned,
        /// What is in the way, without data.
        why: String,
    },
    /// ClickHouse will not take these rows as they are; nothing of the batch is given up and nobody tries further.
    Refused {
        /// Whose batch.
        of: Assigned,
        /// What is in the way, without data.
        why: String,
    },
    /// Kafka answered a commit, or did not.
    Committed {
        /// Whose offsets.
        of: Vec<Assigned>,
        /// Whether it took them.
        acknowledged: bool,
    },
}

/// Where the batches of one pipeline go.
#[derive(Debug, Clone)]
pub struct Target {
    /// Topic with its namespace.
    pub topic: Arc<str>,
    /// Its identity.
    pub topic_id: Uuid,
    /// Table with its database; part of the token.
    pub table: String,
    /// `INSERT INTO ... FORMAT ...`
    pub insert: String,
}

/// Writes batches; shared by all partitions.
#[derive(Debug)]
pub struct Writer {
    /// ClickHouse.
    pub clickhouse: ClickHouse,
    /// The dead-letter topic.
    pub dead_letters: DeadLetters,
    /// When to try again.
    pub retry: Retry,
    /// One permit per INSERT that may run at the same time.
    pub permits: Semaphore,
    /// Where events go.
    pub events: mpsc::Sender<Event>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

/// A batch with its owner and where it goes.
#[derive(Debug)]
pub struct Job {
    /// Whose batch.
    pub of: Assigned,
    /// Where it goes.
    pub target: Arc<Target>,
    /// The batch.
    pub batch: Batch,
}

impl Writer {
    /// Makes the batch durable, however long that takes, and says what became of it.
    pub async fn land(&self, job: Job) {
        let event = match self.try_land(&job).await {
            Ok(()) => Event::Written {
                of: job.of,
                range: job.batch.range,
                landed: job.batch.rows() as u64,
                dead_lettered: job.batch.dead_letters.len() as u64,
            },
            Err(failure) => {
                error!(
                    topic = &*job.target.topic, partition = job.of.partition, first = job.batch.range.first,
                    last = job.batch.range.last, %failure,
                    "ClickHouse refuses rows of this batch; the partition stops and nothing of it is given up",
                );
                Event::Refused { of: job.of, why: failure.to_string() }
            }
        };
        drop(job);
        self.send(event).await;
    }

    async fn try_land(&self, job: &Job) -> Result<(), Failure> {
        let mut attempts = Attempts::new(job, self);
        if !job.batch.dead_letters.is_empty() {
            let started = Instant::now();
            while let Err(failure) = self.dead_letters.send(&job.batch.dead_letters).await {
                attempts.failed(failure).await?;
            }
            self.metrics.stage(Stage::DeadLetter, started.elapsed());
            attempts.succeeded();
        }
        for part in &job.batch.parts {
            let token = token(&job.target, job.of.partition, &job.batch, part);
            let started = Instant::now();
            while let Err(failure) = self.insert(job, part, &token).await {
                attempts.failed(failure).await?;
            }
            self.metrics.stage(Stage::Write, started.elapsed());
            self.metrics.landed(&job.target.topic, part.rows, part.body.len());
            attempts.succeeded();
        }
        Ok(())
    }

    async fn insert(&self, job: &Job, part: &Part, token: &str) -> Result<(), Failure> {
        let _permit = self.permits.acquire().await.expect("nobody closes this semaphore");
        self.clickhouse.insert(&job.target.insert, token, part.body.clone()).await
    }

    async fn send(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            warn!("nobody waits for this batch any more; its offsets stay uncommitted");
        }
    }
}

/// The deduplication token of a part: the same part always has the same one, and no other part ever has it.
pub fn token(target: &Target, partition: i32, batch: &Batch, part: &Part) -> String {
    let Range { first, last } = batch.range;
    let Target { table, topic_id, .. } = target;
    format!("v1:{table}:{topic_id}:{partition}:{first}-{last}:{}:{:032x}", part.month, batch.digest)
}

/// The attempts at one batch.
struct Attempts<'a> {
    job: &'a Job,
    writer: &'a Writer,
    count: u32,
    is_stalled: bool,
}

impl<'a> Attempts<'a> {
    fn new(job: &'a Job, writer: &'a Writer) -> Self {
        Self { job, writer, count: 0, is_stalled: false }
    }

    /// Waits until the next attempt is due, or gives the failure back if there must be none.
    async fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        self.count += 1;
        let Job { of, target, batch } = self.job;
        self.writer.metrics.retry(&target.topic, failure.class);
        let seed = [of.epoch, batch.range.first.cast_unsigned(), u64::from(self.count)].map(u64::to_le_bytes).concat();
        match decide(&self.writer.retry, failure.class, self.count, xxh3_64(&seed)) {
            Decision::Stop => return Err(failure),
            Decision::Again(wait) => {
                warn!(topic = &*target.topic, partition = of.partition, attempt = self.count, %failure, "write failed; trying again");
                tokio::time::sleep(wait).await;
            }
            Decision::Probe(wait) => self.stalled(&failure, wait).await,
        }
        Ok(())
    }

    async fn stalled(&mut self, failure: &Failure, wait: Duration) {
        let Job { of, target, .. } = self.job;
        let (topic, partition) = (&*target.topic, of.partition);
        if failure.class == Class::Operator {
            error!(topic, partition, attempt = self.count, %failure, "write failed; paused until an operator repairs this");
        } else {
            warn!(topic, partition, attempt = self.count, %failure, "write failed; paused while probing goes on");
        }
        self.is_stalled = true;
        self.writer.send(Event::Stalled { of: *of, why: failure.to_string() }).await;
        tokio::time::sleep(wait).await;
    }

    fn succeeded(&mut self) {
        if self.is_stalled {
            info!(topic = &*self.job.target.topic, partition = self.job.of.partition, "writing works again");
        }
        (self.count, self.is_stalled) = (0, false);
    }
}
