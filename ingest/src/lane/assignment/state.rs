//! The partitions of this worker, and how events and the clock change them. It never calls Kafka and never waits for a
//! store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tracing::{error, info, warn};
use uuid::Uuid;

use super::alarm::report_verdict;
use super::pauses::Pauses;
use super::shortage::Shortage;
use crate::batch::limits::SealReason;
use crate::clock::unix_now;
use crate::dead_letter::breaker::Verdict;
use crate::event::{AssignmentId, Event};
use crate::exactly_once::commit::Outcome;
use crate::exactly_once::ledger::OffsetCommit;
use crate::fault::{Failpoint, reached};
use crate::kafka::topic_id::RECREATED;
use crate::lane::partition::{Flow, Hold, Partition};
use crate::lane::ready_pipeline::ReadyPipeline;
use crate::lane::services::Services;
use crate::lane::summary::{Counts, Summary};
use crate::observe::metrics::Stage;
use crate::write::Job;

/// The partitions of this worker.
#[derive(Debug)]
pub struct Assignment {
    pub(super) pipelines: Vec<ReadyPipeline>,
    pub(super) counts: Vec<Counts>,
    pub(super) partitions: BTreeMap<(usize, i32), Partition>,
    pub(super) services: Services,
    pub(super) epochs: u64,
    pub(super) pauses: Pauses,
    /// Next offsets whose records cannot be read.
    pub(super) unreadable: BTreeMap<(usize, i32), i64>,
    /// Whether memory is short for every active pipeline.
    pub(super) shortage: Shortage,
    /// Reused buffer for the row being encoded.
    pub(super) row: Vec<u8>,
    pub(super) is_draining: bool,
}

impl Assignment {
    /// Creates an assignment without partitions.
    pub fn new(pipelines: Vec<ReadyPipeline>, services: Services) -> Self {
        let counts = pipelines.iter().map(|_| Counts::default()).collect();
        Self {
            pipelines,
            counts,
            partitions: BTreeMap::new(),
            services,
            epochs: 0,
            pauses: Pauses::default(),
            unreadable: BTreeMap::new(),
            shortage: Shortage::default(),
            row: Vec::new(),
            is_draining: false,
        }
    }

    pub(super) fn pipeline(&self, topic: &str) -> Option<usize> {
        self.pipelines.iter().position(|ready| &*ready.destination.target.topic == topic)
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(&(self.pipeline(topic)?, partition))
    }

    /// Stops a partition until an operator has decided and restarted the worker.
    pub(super) fn stop_partition(&mut self, assignment: AssignmentId, why: &str) {
        let Some(partition) = self.current(assignment) else { return };
        partition.stop();
        let topic = Arc::clone(&self.pipelines[assignment.pipeline].destination.target.topic);
        error!(topic = &*topic, partition = assignment.partition, why, "partition stopped; an operator has to decide");
        self.services.status.set_trouble(&topic, assignment.partition, Some(why.to_owned()));
    }

    pub(super) fn seal(&mut self, key: (usize, i32), seal_reason: SealReason) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        if let Some(batch) = partition.seal(seal_reason) {
            self.services.metrics.record_batch(&self.pipelines[key.0].destination.target.topic, batch, seal_reason);
        }
        reached(Failpoint::Sealed);
        self.dispatch(key);
    }

    /// Passes the next batch of a partition to the writer.
    pub(super) fn dispatch(&mut self, key: (usize, i32)) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        let Some(batch) = partition.next_batch() else { return };
        reached(Failpoint::Announced);
        let job = Job {
            assignment: partition.assignment,
            destination: Arc::clone(&self.pipelines[key.0].destination),
            lease: Arc::clone(partition.lease()),
            announced_at: partition.announced_at(batch.range).unwrap_or_default(),
            batch,
        };
        let writer = Arc::clone(&self.services.writer);
        let cancel = partition.cancel.clone();
        // Cancelled when the assignment ends; unacknowledged writes stay uncommitted.
        self.services.runtime.spawn(async move { cancel.run_until_cancelled(writer.land(job)).await });
    }

    /// Handles an event; one of an assignment that has ended is dropped.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Command(request) => self.handle_request(request),
            Event::Committed { assignments, outcome } => self.handle_commit(&assignments, outcome),
            Event::Located { assignment, offsets } => self.handle_offsets(assignment, offsets),
            Event::Watermarks { assignment, ends } => self.handle_watermarks(assignment, ends),
            Event::Unreadable { assignment, offset } => self.mark_unreadable(assignment, offset),
            Event::Stopped { assignment, why } => self.stop_partition(assignment, &why),
            Event::Opened { assignment, continuation, letters } => {
                let Some(partition) = self.current(assignment) else { return };
                match partition.finish_opening(&continuation, letters) {
                    Some(why) => self.stop_partition(assignment, &why),
                    None => self.report_and_dispatch(assignment, None, Verdict::Continue),
                }
            }
            Event::Written { assignment, range, landed, dead_lettered } => {
                let Some(partition) = self.current(assignment) else { return };
                partition.record_written(range);
                partition.count_landed(landed);
                let counts = &mut self.counts[assignment.pipeline];
                counts.landed += landed;
                counts.dead_lettered += dead_lettered;
                self.report_and_dispatch(assignment, None, Verdict::Continue);
            }
            Event::Stalled { assignment, why } => {
                let Some(partition) = self.current(assignment) else { return };
                partition.hold(Hold::Store);
                self.report_and_dispatch(assignment, Some(why), Verdict::Continue);
            }
            Event::Refused { assignment, rows, dead_lettered, reply } => {
                let Some(partition) = self.current(assignment) else { return };
                let verdict = partition.count_refused(&rows, &dead_lettered, Instant::now());
                // The writer may have been cancelled; then it sends nothing either.
                reply.send(!matches!(verdict, Verdict::Trip(_))).ok();
                self.report_and_dispatch(assignment, None, verdict);
            }
        }
    }

    /// Reports why a partition is stalled, if it is, and passes its next batch to the writer.
    pub(super) fn report_and_dispatch(&mut self, assignment: AssignmentId, trouble: Option<String>, verdict: Verdict) {
        let key = (assignment.pipeline, assignment.partition);
        let Some(partition) = self.partitions.get(&key) else { return };
        let topic = &self.pipelines[assignment.pipeline].destination.target.topic;
        report_verdict(&self.services, topic, partition, verdict);
        let trouble = trouble.or_else(|| partition.trip_reason().map(str::to_owned));
        let trouble = trouble.or_else(|| self.why_unreadable(key));
        self.services.status.set_trouble(topic, assignment.partition, trouble);
        self.dispatch(key);
    }

    /// The partition of an assignment, unless that assignment has ended.
    pub(super) fn current(&mut self, assignment: AssignmentId) -> Option<&mut Partition> {
        self.partitions
            .get_mut(&(assignment.pipeline, assignment.partition))
            .filter(|partition| partition.assignment == assignment)
    }

    /// Handles the result of a commit.
    fn handle_commit(&mut self, assignments: &[AssignmentId], outcome: Outcome) {
        let is_acknowledged = outcome == Outcome::Acknowledged;
        self.services.metrics.count_commit(is_acknowledged);
        let now = Instant::now();
        for assignment in assignments {
            let latency =
                self.current(*assignment).and_then(|partition| partition.handle_commit_response(is_acknowledged, now));
            if let Some(latency) = latency {
                self.services.metrics.observe_stage(Stage::Commit, latency);
            }
            if outcome == Outcome::Recreated {
                self.stop_partition(*assignment, RECREATED);
            }
            // Ranges that it announced may be written now.
            self.dispatch((assignment.pipeline, assignment.partition));
        }
    }

    /// Seals batches that are due, and updates backpressure.
    pub fn tick(&mut self, now: Instant) {
        let due = |(key, partition): (&(usize, i32), &Partition)| {
            Some((*key, partition.seal_reason(&self.pipelines[key.0].limits, now)?))
        };
        let due: Vec<_> = self.partitions.iter().filter_map(due).collect();
        for (key, seal_reason) in due {
            self.seal(key, seal_reason);
        }
        for pipeline in 0..self.pipelines.len() {
            self.update_backpressure(pipeline, now);
        }
        self.services.budget.trim();
    }

    /// ID that a topic had when the worker started.
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        Some(self.pipelines[self.pipeline(topic)?].destination.target.topic_id)
    }

    /// Schedules a retry after Kafka's client could not pause or resume a partition.
    pub fn retry_flow(&mut self, topic: &str, partition: i32, flow: Flow) {
        if let Some(partition) = self.partition_mut(topic, partition) {
            partition.retry_flow(flow, Instant::now());
        }
    }

    /// Returns the pauses and resumes that Kafka's client has not applied yet.
    pub fn flow_changes(&mut self) -> Vec<(Arc<str>, i32, Flow)> {
        let changes = self.partitions.iter_mut().filter_map(|(key, partition)| {
            Some((Arc::clone(&self.pipelines[key.0].destination.target.topic), key.1, partition.flow_change()?))
        });
        changes.collect()
    }

    /// Returns the commits that are due.
    pub fn commits(&mut self, now: Instant) -> Vec<(Arc<str>, AssignmentId, OffsetCommit)> {
        let unix_seconds = unix_now();
        let due = self.partitions.iter_mut().filter_map(|(key, partition)| {
            Some((
                Arc::clone(&self.pipelines[key.0].destination.target.topic),
                partition.assignment,
                partition.next_commit(now, unix_seconds)?,
            ))
        });
        due.collect()
    }

    /// Stops intake of a partition that is being revoked, and drops all batches that are not being written.
    pub fn begin_revocation(&mut self, topic: &str, partition: i32) {
        if let Some(partition) = self.partition_mut(topic, partition) {
            partition.hold(Hold::Drain);
            partition.drop_unwritten_batches();
        }
    }

    /// Whether a write or a commit of the partition is in flight.
    pub fn is_in_flight(&self, topic: &str, partition: i32) -> bool {
        let state = self.pipeline(topic).and_then(|pipeline| self.partitions.get(&(pipeline, partition)));
        state.is_some_and(|partition| partition.is_writing() || partition.is_committing())
    }

    /// Ends an assignment and its writes; returns its last commit, if one is needed.
    pub fn end(&mut self, topic: &str, partition: i32) -> Option<OffsetCommit> {
        let pipeline = self.pipeline(topic)?;
        let state = self.partitions.remove(&(pipeline, partition))?;
        self.unreadable.remove(&(pipeline, partition));
        state.cancel.cancel();
        self.services.monitor.forget(topic, partition);
        self.services.status.set_trouble(topic, partition, None);
        self.services.status.set_fetch_trouble(topic, partition, None);
        self.services.metrics.forget_lag(topic, partition);
        if state.is_writing() {
            warn!(topic, partition, "partition revoked during a write; its next owner writes that batch again");
        }
        state.final_commit(unix_now())
    }

    /// Whether a commit of the partition is in flight.
    pub fn is_committing(&self, topic: &str, partition: i32) -> bool {
        let state = self.pipeline(topic).and_then(|pipeline| self.partitions.get(&(pipeline, partition)));
        state.is_some_and(Partition::is_committing)
    }

    /// Seals all open batches and stops intake.
    pub fn drain(&mut self) {
        info!(partitions = self.partitions.len(), "draining: writing and committing consumed records");
        self.is_draining = true;
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        for key in keys {
            self.seal(key, SealReason::Drain);
            if let Some(partition) = self.partitions.get_mut(&key) {
                partition.hold(Hold::Drain);
                partition.drop_open_batch();
            }
        }
    }

    /// Whether any write or commit is in flight.
    pub fn awaits_responses(&self) -> bool {
        self.partitions.values().any(|partition| partition.is_writing() || partition.is_committing())
    }

    /// Whether every partition has nothing to write or commit, or is stopped with no commit in flight.
    pub fn is_settled(&self) -> bool {
        self.partitions.values().all(Partition::is_settled)
    }

    /// Ends all assignments and returns the summary.
    pub fn finish(&mut self) -> Summary {
        for partition in self.partitions.values() {
            partition.cancel.cancel();
        }
        self.partitions.clear();
        let topics = self.pipelines.iter().map(|ready| ready.destination.target.topic.to_string());
        Summary { topics: topics.zip(self.counts.iter().copied()).collect(), is_late: false }
    }
}
