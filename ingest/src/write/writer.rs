//! Makes batches durable, and sends the outcome of each as an [`Event`]. All partitions share one [`Writer`]. It never commits.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Semaphore, mpsc};

use super::attempts::Attempts;
use super::job::Job;
use super::outcome::Stop;
use super::trust::ConfirmedAssignments;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::demand::Demand;
use crate::clickhouse::rebuild::Rebuilds;
use crate::clickhouse::view_changes::ViewGraphs;
use crate::clickhouse::{lookup, visibility};
use crate::config::Retry;
use crate::dead_letter::producer::DeadLetters;
use crate::dead_letter::refetch::RecordReader;
use crate::dead_letter::sent::SentLetters;
use crate::event::{self, AssignmentId, Event};
use crate::exactly_once::takeover::Start;
use crate::failure::Failure;
use crate::fault::{Failpoint, Fault, is_injected, reached};
use crate::observe::metrics::{Metrics, Stage};
use crate::target::Target;

/// Writes the batches of all partitions.
#[derive(Debug)]
pub struct Writer {
    /// The client of ClickHouse.
    pub clickhouse: ClickHouse,
    /// The producer of dead letters.
    pub dead_letters: DeadLetters,
    /// Finds dead letters of an earlier owner.
    pub sent_letters: SentLetters,
    /// Reads refused records again.
    pub refetch: RecordReader,
    /// Rebuilds aggregate tables that may lack rows of their base table.
    pub rebuilds: Rebuilds,
    /// The retry policy.
    pub retry: Retry,
    /// Minimum time for which the tables have to remember tokens.
    pub demand: Demand,
    /// One permit for each INSERT that may be in flight.
    pub permits: Semaphore,
    /// Assignments whose acknowledged rows were visible.
    pub confirmed: ConfirmedAssignments,
    /// The views that INSERTs reach.
    pub graphs: ViewGraphs,
    /// The channel to the consume loop.
    pub events: mpsc::Sender<Event>,
    /// Metrics of the worker.
    pub metrics: Arc<Metrics>,
}

impl Writer {
    /// Makes the batch durable, retrying without limit, and sends the outcome.
    pub async fn land(&self, job: Job) {
        let assignment = job.assignment;
        let event = self.try_land(&job).await.unwrap_or_else(|Stop(why)| Some(Event::Stopped { assignment, why }));
        drop(job);
        if let Some(event) = event {
            self.send(event).await;
        }
    }

    /// Queries the table for a partition's highest offset, and the dead-letter topic for records of its announced ranges,
    /// until both respond.
    pub async fn open_partition(&self, assignment: AssignmentId, target: &Target, start: &Start) {
        let mut attempts = self.attempts(assignment, target, None);
        let highest = loop {
            match self.highest_offset(target, assignment.partition, start.committed).await {
                Ok(highest) => break highest,
                Err(failure) => attempts.back_off(failure).await,
            }
        };
        let letters = match &start.intent {
            Some(intent) if !is_injected(Fault::IgnoreSentLetters) => loop {
                match self.sent_letters.among(target.topic_id, assignment.partition, intent).await {
                    Ok(letters) => break letters,
                    Err(failure) => attempts.back_off(failure).await,
                }
            },
            _ => Vec::new(),
        };
        let continuation = start.continue_after(highest);
        self.send(Event::Opened { assignment, continuation, letters }).await;
    }

    /// Returns the highest offset in the table. Without a committed offset, it alone determines where to begin, so running
    /// INSERTs and hidden rows are ruled out first.
    async fn highest_offset(
        &self,
        target: &Target,
        partition: i32,
        committed: Option<i64>,
    ) -> Result<Option<i64>, Failure> {
        if committed.is_none() {
            lookup::check_no_running_insert(&self.clickhouse, target, partition).await?;
            visibility::check(&self.clickhouse, &target.table).await?;
        }
        lookup::highest(&self.clickhouse, target, partition).await
    }

    /// Writes the batch; returns no event if the breaker has opened and the batch is dropped.
    async fn try_land(&self, job: &Job) -> Result<Option<Event>, Stop> {
        let mut attempts = self.attempts(job.assignment, &job.destination.target, Some(job.batch.range.first));
        let mut sent_letters = self.land_dead_letters(job, &mut attempts).await;
        for part in &job.batch.parts {
            let started = Instant::now();
            let Some(landed) = self.land_without_refused(job, part, &mut sent_letters, &mut attempts).await? else {
                return Ok(None);
            };
            self.metrics.observe_stage(Stage::Write, started.elapsed());
            self.metrics.count_landed(&job.destination.target.topic, landed.count(), landed.rows.bytes());
            reached(Failpoint::Landed);
        }
        let dead_lettered = sent_letters.len() + job.batch.dead_lettered_before();
        Ok(Some(written_event(job, job.batch.records() - dead_lettered, dead_lettered)))
    }

    fn attempts<'a>(&'a self, assignment: AssignmentId, target: &'a Target, first: Option<i64>) -> Attempts<'a> {
        Attempts::new(&self.retry, &self.metrics, &self.events, assignment, target, first)
    }

    pub(super) async fn send(&self, event: Event) {
        event::send(&self.events, event).await;
    }
}

fn written_event(job: &Job, landed: usize, dead_lettered: usize) -> Event {
    let (assignment, range) = (job.assignment, job.batch.range);
    Event::Written { assignment, range, landed: landed as u64, dead_lettered: dead_lettered as u64 }
}
