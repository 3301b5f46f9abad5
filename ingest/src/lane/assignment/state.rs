//! The partitions of this worker, and how events and the clock change them.

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
use crate::event::{Assigned, Event};
use crate::exactly_once::commit::Outcome;
use crate::exactly_once::ledger::OffsetCommit;
use crate::fault::{Failpoint, reached};
use crate::kafka::topic_id::RECREATED;
use crate::lane::partition::{Flow, Hold, Partition};
use crate::lane::source::Source;
use crate::lane::summary::{Counts, Summary};
use crate::lane::tools::Tools;
use crate::observe::metrics::Stage;
use crate::write::Job;

/// The partitions of this worker.
#[derive(Debug)]
pub struct Assignment {
    pub(super) sources: Vec<Source>,
    pub(super) counts: Vec<Counts>,
    pub(super) partitions: BTreeMap<(usize, i32), Partition>,
    pub(super) tools: Tools,
    pub(super) epochs: u64,
    pub(super) pauses: Pauses,
    /// Next offsets that cannot be read.
    pub(super) unreadable: BTreeMap<(usize, i32), i64>,
    /// Whether memory is short for every active pipeline.
    pub(super) shortage: Shortage,
    /// Buffer for the row being encoded, reused.
    pub(super) row: Vec<u8>,
    pub(super) is_draining: bool,
}

impl Assignment {
    /// Creates an assignment without partitions.
    pub fn new(sources: Vec<Source>, tools: Tools) -> Self {
        let counts = sources.iter().map(|_| Counts::default()).collect();
        Self {
            sources,
            counts,
            partitions: BTreeMap::new(),
            tools,
            epochs: 0,
            pauses: Pauses::default(),
            unreadable: BTreeMap::new(),
            shortage: Shortage::default(),
            row: Vec::new(),
            is_draining: false,
        }
    }

    pub(super) fn pipeline(&self, topic: &str) -> Option<usize> {
        self.sources.iter().position(|source| &*source.destination.target.topic == topic)
    }

    pub(super) fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(&(self.pipeline(topic)?, partition))
    }

    /// Stops a partition until an operator has decided.
    pub(super) fn stopped(&mut self, owner: Assigned, why: &str) {
        let Some(partition) = self.current(owner) else { return };
        partition.stop();
        let topic = Arc::clone(&self.sources[owner.pipeline].destination.target.topic);
        error!(topic = &*topic, partition = owner.partition, why, "partition stopped; an operator has to decide");
        self.tools.status.set_trouble(&topic, owner.partition, Some(why.to_owned()));
    }

    pub(super) fn seal(&mut self, key: (usize, i32), seal_reason: SealReason) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        if let Some(batch) = partition.seal(seal_reason) {
            self.tools.metrics.sealed(&self.sources[key.0].destination.target.topic, batch, seal_reason);
        }
        reached(Failpoint::Sealed);
        self.dispatch(key);
    }

    /// Hands the next batch of a partition to the writer.
    pub(super) fn dispatch(&mut self, key: (usize, i32)) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        let Some(batch) = partition.next_batch() else { return };
        reached(Failpoint::Announced);
        let job = Job {
            owner: partition.owner,
            destination: Arc::clone(&self.sources[key.0].destination),
            lease: Arc::clone(partition.lease()),
            announced_at: partition.announced_at(batch.range).unwrap_or_default(),
            batch,
        };
        let writer = Arc::clone(&self.tools.writer);
        let cancel = partition.cancel.clone();
        // Cancelled when the assignment ends; unacknowledged writes stay uncommitted.
        self.tools.runtime.spawn(async move { cancel.run_until_cancelled(writer.land(job)).await });
    }

    /// Handles an event; one of an assignment that has ended is dropped.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Command(request) => self.handle_request(request),
            Event::Committed { owners, outcome } => self.committed(&owners, outcome),
            Event::Located { owner, found } => self.located(owner, found),
            Event::Watermarks { owner, ends } => self.watermarks_known(owner, ends),
            Event::Unreadable { owner, offset } => self.mark_unreadable(owner, offset),
            Event::Stopped { owner, why } => self.stopped(owner, &why),
            Event::Opened { owner, continuation, letters } => {
                let Some(partition) = self.current(owner) else { return };
                match partition.opened(&continuation, letters) {
                    Some(why) => self.stopped(owner, &why),
                    None => self.report_and_dispatch(owner, None, Verdict::Pass),
                }
            }
            Event::Written { owner, range, landed, dead_lettered } => {
                let Some(partition) = self.current(owner) else { return };
                partition.written(range);
                partition.landed(landed);
                let counts = &mut self.counts[owner.pipeline];
                counts.landed += landed;
                counts.dead_lettered += dead_lettered;
                self.report_and_dispatch(owner, None, Verdict::Pass);
            }
            Event::Stalled { owner, why } => {
                let Some(partition) = self.current(owner) else { return };
                partition.hold(Hold::Store);
                self.report_and_dispatch(owner, Some(why), Verdict::Pass);
            }
            Event::Refused { owner, rows, sent, answer } => {
                let Some(partition) = self.current(owner) else { return };
                let verdict = partition.refused(&rows, &sent, Instant::now());
                // The writer may have been cancelled; then it sends nothing either.
                answer.send(!matches!(verdict, Verdict::Trip(_))).ok();
                self.report_and_dispatch(owner, None, verdict);
            }
        }
    }

    /// Reports why a partition is stalled, if it is, and hands its next batch to the writer.
    pub(super) fn report_and_dispatch(&mut self, owner: Assigned, trouble: Option<String>, verdict: Verdict) {
        let key = (owner.pipeline, owner.partition);
        let Some(partition) = self.partitions.get(&key) else { return };
        let topic = &self.sources[owner.pipeline].destination.target.topic;
        report_verdict(&self.tools, topic, partition, verdict);
        let trouble = trouble.or_else(|| partition.trip_reason().map(str::to_owned));
        let trouble = trouble.or_else(|| self.why_unreadable(key));
        self.tools.status.set_trouble(topic, owner.partition, trouble);
        self.dispatch(key);
    }

    /// The partition of an assignment, unless that assignment has ended.
    pub(super) fn current(&mut self, owner: Assigned) -> Option<&mut Partition> {
        self.partitions.get_mut(&(owner.pipeline, owner.partition)).filter(|partition| partition.owner == owner)
    }

    /// Handles the result of a commit.
    fn committed(&mut self, owners: &[Assigned], outcome: Outcome) {
        let is_acknowledged = outcome == Outcome::Acknowledged;
        self.tools.metrics.commit(is_acknowledged);
        let now = Instant::now();
        for owner in owners {
            let latency = self.current(*owner).and_then(|partition| partition.commit_answered(is_acknowledged, now));
            if let Some(latency) = latency {
                self.tools.metrics.stage(Stage::Commit, latency);
            }
            if outcome == Outcome::Recreated {
                self.stopped(*owner, RECREATED);
            }
            // Ranges that it announced may be written now.
            self.dispatch((owner.pipeline, owner.partition));
        }
    }

    /// Seals batches that are due, and updates backpressure.
    pub fn tick(&mut self, now: Instant) {
        let due = |(key, partition): (&(usize, i32), &Partition)| {
            Some((*key, partition.seal_reason(&self.sources[key.0].limits, now)?))
        };
        let due: Vec<_> = self.partitions.iter().filter_map(due).collect();
        for (key, seal_reason) in due {
            self.seal(key, seal_reason);
        }
        for pipeline in 0..self.sources.len() {
            self.update_backpressure(pipeline, now);
        }
        self.tools.budget.trim();
    }

    /// ID of a topic when the worker started.
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        Some(self.sources[self.pipeline(topic)?].destination.target.topic_id)
    }

    /// Kafka's client could not pause or resume a partition; the change is retried.
    pub fn flow_failed(&mut self, topic: &str, partition: i32, flow: Flow) {
        if let Some(partition) = self.partition_mut(topic, partition) {
            partition.flow_failed(flow, Instant::now());
        }
    }

    /// Pauses and resumes that Kafka's client has not applied yet.
    pub fn flow_changes(&mut self) -> Vec<(Arc<str>, i32, Flow)> {
        let changes = self.partitions.iter_mut().filter_map(|(key, partition)| {
            Some((Arc::clone(&self.sources[key.0].destination.target.topic), key.1, partition.flow_change()?))
        });
        changes.collect()
    }

    /// The commits that are due.
    pub fn commits(&mut self, now: Instant) -> Vec<(Arc<str>, Assigned, OffsetCommit)> {
        let unix = unix_now();
        let due = self.partitions.iter_mut().filter_map(|(key, partition)| {
            Some((
                Arc::clone(&self.sources[key.0].destination.target.topic),
                partition.owner,
                partition.to_commit(now, unix)?,
            ))
        });
        due.collect()
    }

    /// Stops intake of a partition that is being revoked, and drops all batches that are not being written.
    pub fn abandon(&mut self, topic: &str, partition: i32) {
        if let Some(partition) = self.partition_mut(topic, partition) {
            partition.hold(Hold::Drain);
            partition.abandon();
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
        self.tools.monitor.forget(topic, partition);
        self.tools.status.set_trouble(topic, partition, None);
        self.tools.status.set_supply_trouble(topic, partition, None);
        self.tools.metrics.forget_lag(topic, partition);
        if state.is_writing() {
            warn!(topic, partition, "partition revoked during a write; its next owner writes that batch again");
        }
        state.last_commit(unix_now())
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
                partition.close();
            }
        }
    }

    /// Whether any write or commit is in flight.
    pub fn awaits_answers(&self) -> bool {
        self.partitions.values().any(|partition| partition.is_writing() || partition.is_committing())
    }

    /// Whether nothing is left to write or to commit.
    pub fn is_settled(&self) -> bool {
        self.partitions.values().all(Partition::is_settled)
    }

    /// Ends all assignments and returns what was done.
    pub fn finish(&mut self) -> Summary {
        for partition in self.partitions.values() {
            partition.cancel.cancel();
        }
        self.partitions.clear();
        let topics = self.sources.iter().map(|source| source.destination.target.topic.to_string());
        Summary { topics: topics.zip(self.counts.iter().copied()).collect(), is_late: false }
    }
}
