//! All partitions that this worker owns, and what has to happen to them next.
//! Records, events of the writer and the clock go in; batches are handed to the writer, and what Kafka has to be told
//! (pause, resume, offsets) comes out. It makes no call to Kafka itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::message::{BorrowedMessage, Message};
use sluice_schemas::records::DeadLetter;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::batch::{Cut, Limits, OpenBatch};
use crate::budget::{Budget, Pressure};
use crate::decode::{Decoder, Origin, Rejected};
use crate::headers;
use crate::health::Status;
use crate::metrics::{Metrics, Stage};
use crate::partition::{Hold, Partition};
use crate::retry::Class;
use crate::write::{Assigned, Event, Job, Target, Writer};
use crate::{Counts, Summary};

/// One pipeline, ready to run.
#[derive(Debug)]
pub struct Source {
    /// Where its batches go.
    pub target: Arc<Target>,
    /// Decodes its records.
    pub decoder: Decoder,
    /// When its batches are sealed.
    pub limits: Limits,
}

/// What the assignment works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Writes batches.
    pub writer: Arc<Writer>,
    /// Bytes on their way.
    pub budget: Arc<Budget>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What the worker says about itself.
    pub status: Arc<Status>,
    /// Runs the writes.
    pub runtime: Handle,
}

/// The partitions of this worker.
#[derive(Debug)]
pub struct Assignment {
    sources: Vec<Source>,
    counts: Vec<Counts>,
    partitions: BTreeMap<(usize, i32), Partition>,
    tools: Tools,
    epochs: u64,
    /// The row being encoded; kept for its memory.
    row: Vec<u8>,
    is_draining: bool,
}

impl Assignment {
    /// No partitions yet.
    pub fn new(sources: Vec<Source>, tools: Tools) -> Self {
        let counts = sources.iter().map(|_| Counts::default()).collect();
        Self { sources, counts, partitions: BTreeMap::new(), tools, epochs: 0, row: Vec::new(), is_draining: false }
    }

    fn pipeline(&self, topic: &str) -> Option<usize> {
        self.sources.iter().position(|source| &*source.target.topic == topic)
    }

    fn partition_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(&(self.pipeline(topic)?, partition))
    }

    /// A partition is ours from now on: a new epoch.
    pub fn assign(&mut self, topic: &str, partition: i32) {
        let Some(pipeline) = self.pipeline(topic) else { return };
        self.epochs += 1;
        let of = Assigned { pipeline, partition, epoch: self.epochs };
        let target = &self.sources[pipeline].target;
        let origin = Origin::new(&target.topic, target.topic_id, partition);
        let mut state = Partition::new(of, origin, CancellationToken::new());
        if self.is_draining {
            state.hold(Hold::Drain);
        }
        self.partitions.insert((pipeline, partition), state);
    }

    /// Takes one record in. Returns whether its partition has to pause before the next one.
    pub fn take(&mut self, message: &BorrowedMessage<'_>, now: Instant) -> bool {
        let Some(pipeline) = self.pipeline(message.topic()) else { return false };
        let Some(partition) = self.partitions.get_mut(&(pipeline, message.partition())) else { return false };
        if partition.is_held(Hold::Refused) {
            return true;
        }
        let source = &mut self.sources[pipeline];
        let (offset, payload) = (message.offset(), message.payload());
        self.row.clear();
        let decoded = source.decoder.decode(payload, &partition.origin, offset, &mut self.row);
        let budget = &self.tools.budget;
        let batch = partition.open_with(|| OpenBatch::open(offset, now, budget.permit(pipeline)));
        batch.note(offset, message.key(), payload);
        match decoded {
            Ok(decoded) => batch.push_row(decoded.month, &self.row),
            Err(rejected) => batch.push_dead_letter(dead_letter(message, rejected)),
        }
        self.counts[pipeline].consumed += 1;
        if let Some(cut) = partition.cut(&source.limits, now) {
            self.seal((pipeline, message.partition()), cut);
        }
        self.press(pipeline, message.partition())
    }

    /// Holds the partition if memory is short.
    fn press(&mut self, pipeline: usize, partition: i32) -> bool {
        let is_short = self.tools.budget.pressure(pipeline) == Pressure::High;
        if is_short && let Some(partition) = self.partitions.get_mut(&(pipeline, partition)) {
            partition.hold(Hold::Memory);
        }
        is_short
    }

    fn seal(&mut self, key: (usize, i32), cut: Cut) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        if let Some(batch) = partition.seal() {
            self.tools.metrics.sealed(&self.sources[key.0].target.topic, batch, cut);
        }
        self.dispatch(key);
    }

    /// Hands the next batch of a partition to the writer.
    fn dispatch(&mut self, key: (usize, i32)) {
        let Some(partition) = self.partitions.get_mut(&key) else { return };
        let Some(batch) = partition.next_batch() else { return };
        let job = Job { of: partition.of, target: Arc::clone(&self.sources[key.0].target), batch };
        let writer = Arc::clone(&self.tools.writer);
        let cancel = partition.cancel.clone();
        // Cancelled when the assignment ends: what was not acknowledged by then stays uncommitted.
        self.tools.runtime.spawn(async move { cancel.run_until_cancelled(writer.land(job)).await });
    }

    /// Takes note of what became of a batch. Events of an assignment that has ended are dropped.
    pub fn happened(&mut self, event: &Event) {
        let of = match event {
            Event::Written { of, .. } | Event::Stalled { of, .. } | Event::Refused { of, .. } => *of,
            Event::Committed { of, acknowledged } => return self.committed(of, *acknowledged),
        };
        let Some(partition) = self.current(of) else { return };
        let trouble = match event {
            Event::Committed { .. } => None,
            Event::Written { range, landed, dead_lettered, .. } => {
                partition.written(*range);
                let counts = &mut self.counts[of.pipeline];
                counts.landed += landed;
                counts.dead_lettered += dead_lettered;
                None
            }
            Event::Stalled { why, .. } => {
                partition.hold(Hold::Store);
                Some(why.clone())
            }
            Event::Refused { why, .. } => {
                partition.refused();
                Some(format!("{why}; correct the rows or the table, then restart the worker"))
            }
        };
        self.tools.status.trouble(&self.sources[of.pipeline].target.topic, of.partition, trouble);
        self.dispatch((of.pipeline, of.partition));
    }

    /// The partition of an assignment, unless that assignment has ended.
    fn current(&mut self, of: Assigned) -> Option<&mut Partition> {
        self.partitions.get_mut(&(of.pipeline, of.partition)).filter(|partition| partition.of == of)
    }

    /// Kafka answered a commit.
    fn committed(&mut self, of: &[Assigned], acknowledged: bool) {
        self.tools.metrics.commit(acknowledged);
        let now = Instant::now();
        for of in of {
            let took = self.current(*of).and_then(|partition| partition.commit_answered(acknowledged, now));
            if let Some(took) = took {
                self.tools.metrics.stage(Stage::Commit, took);
            }
        }
    }

    /// What time brings: batches old enough are sealed, memory is freed or found to be short.
    pub fn tick(&mut self, now: Instant) {
        let due = |(key, partition): (&(usize, i32), &Partition)| {
            Some((*key, partition.cut(&self.sources[key.0].limits, now)?))
        };
        // While one batch is being written the next could not be, so it may as well go on growing to its full size.
        let idle = self.partitions.iter().filter(|(_, partition)| !partition.is_busy());
        let due: Vec<_> = idle.filter_map(due).collect();
        for (key, cut) in due {
            self.seal(key, cut);
        }
        for pipeline in 0..self.sources.len() {
            self.relieve(pipeline);
        }
    }

    /// Applies the pressure on a pipeline's memory to its partitions.
    fn relieve(&mut self, pipeline: usize) {
        let pressure = self.tools.budget.pressure(pipeline);
        let own = (pipeline, i32::MIN)..=(pipeline, i32::MAX);
        for (_, partition) in self.partitions.range_mut(own.clone()) {
            match pressure {
                Pressure::High => partition.hold(Hold::Memory),
                Pressure::Low => partition.release(Hold::Memory),
                Pressure::Between => {}
            }
        }
        let of_pipeline = || self.partitions.range(own.clone());
        let is_short = of_pipeline().any(|(_, partition)| partition.is_held(Hold::Memory));
        // Nothing on its way means that nothing will be freed by itself.
        if is_short && !of_pipeline().any(|(_, partition)| partition.is_busy()) {
            let largest = of_pipeline().max_by_key(|(_, partition)| partition.open_bytes()).map(|(key, _)| *key);
            if let Some(key) = largest {
                self.seal(key, Cut::Pressure);
            }
        }
        let paused = self.partitions.range(own).filter(|(_, partition)| partition.is_paused()).count();
        self.tools.metrics.flow(&self.sources[pipeline].target.topic, self.tools.budget.used(pipeline), paused);
    }

    /// Partitions to pause (`true`) or resume (`false`).
    pub fn flow_changes(&mut self) -> Vec<(Arc<str>, i32, bool)> {
        let changes = self.partitions.iter_mut().filter_map(|(key, partition)| {
            Some((Arc::clone(&self.sources[key.0].target.topic), key.1, partition.flow_change()?))
        });
        changes.collect()
    }

    /// Offsets to commit now.
    pub fn offsets_to_commit(&mut self, now: Instant) -> Vec<(Arc<str>, Assigned, i64)> {
        let due = self.partitions.iter_mut().filter_map(|(key, partition)| {
            Some((Arc::clone(&self.sources[key.0].target.topic), partition.of, partition.to_commit(now)?))
        });
        due.collect()
    }

    /// How far a partition is behind, given the end of its log.
    pub fn report_lag(&self, topic: &str, partition: i32, committed: i64, end: i64) {
        let own = self.pipeline(topic).and_then(|pipeline| self.partitions.get(&(pipeline, partition)));
        if let Some(own) = own {
            let position = own.watermark().unwrap_or(0).max(committed);
            self.tools.metrics.lag(topic, partition, (end - position).max(0));
        }
    }

    /// Stops intake of partitions that are being taken away and lets go of what is not being written.
    pub fn abandon(&mut self, topic: &str, partition: i32) {
        if let Some(partition) = self.partition_mut(topic, partition) {
            partition.hold(Hold::Drain);
            partition.abandon();
        }
    }

    /// Whether a batch or an offset of the partition is on its way.
    pub fn is_in_flight(&self, topic: &str, partition: i32) -> bool {
        let own = self.pipeline(topic).and_then(|pipeline| self.partitions.get(&(pipeline, partition)));
        own.is_some_and(|partition| partition.is_writing() || partition.is_committing())
    }

    /// Ends an assignment and its writes; gives the offset that may still be committed.
    pub fn end(&mut self, topic: &str, partition: i32) -> Option<i64> {
        let pipeline = self.pipeline(topic)?;
        let state = self.partitions.remove(&(pipeline, partition))?;
        state.cancel.cancel();
        self.tools.status.trouble(topic, partition, None);
        self.tools.metrics.forget_lag(topic, partition);
        if state.is_writing() {
            warn!(topic, partition, "partition taken away during a write; its next owner writes that batch again");
        }
        state.watermark()
    }

    /// Seals everything and takes nothing more in.
    pub fn drain(&mut self) {
        info!(partitions = self.partitions.len(), "draining: what was taken in is written and committed");
        self.is_draining = true;
        let keys: Vec<_> = self.partitions.keys().copied().collect();
        for key in keys {
            if let Some(partition) = self.partitions.get_mut(&key) {
                partition.hold(Hold::Drain);
            }
            self.seal(key, Cut::Drain);
        }
    }

    /// Whether nothing is left to write or to commit.
    pub fn is_settled(&self) -> bool {
        self.partitions.values().all(Partition::is_settled)
    }

    /// Ends all assignments and says what was done.
    pub fn finish(&mut self) -> Summary {
        for partition in self.partitions.values() {
            partition.cancel.cancel();
        }
        self.partitions.clear();
        let topics = self.sources.iter().map(|source| source.target.topic.to_string());
        Summary { topics: topics.zip(self.counts.iter().copied()).collect() }
    }
}

fn dead_letter(message: &BorrowedMessage<'_>, rejected: Rejected) -> DeadLetter {
    DeadLetter {
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: headers::of(message),
        reason: rejected.reason.code().to_owned(),
        stage: "decode".to_owned(),
        error_class: Class::Row.as_str().to_owned(),
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        attempts: 1,
        tenant_id: rejected.tenant.or_else(|| tenant_in_key(message.key()?)),
    }
}

/// The tenant in a key of the form `tenant_id:customer_id`.
fn tenant_in_key(key: &[u8]) -> Option<Uuid> {
    let (tenant, rest) = key.split_at_checked(36)?;
    if rest.first() == Some(&b':') { Uuid::try_parse_ascii(tenant).ok() } else { None }
}
