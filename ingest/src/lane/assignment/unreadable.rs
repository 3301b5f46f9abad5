//! Partitions whose next record Kafka's client cannot read.
//! The log and `/readyz` name their offsets. All records before such an offset land and are committed as usual, so that an
//! operator can skip exactly the unreadable ones. The worker never skips one itself.

use tracing::error;

use super::state::Assignment;
use crate::event::AssignmentId;

impl Assignment {
    /// Topic, assignment and next offset of every partition that accepts records.
    pub fn next_offsets(&self) -> Vec<(String, AssignmentId, i64)> {
        let accepting = self.partitions.iter().filter(|(_, partition)| !partition.discards_input());
        let next = accepting.map(|(key, partition)| {
            let topic = self.pipelines[key.0].destination.target.topic.to_string();
            (topic, partition.assignment, partition.position())
        });
        next.collect()
    }

    /// Reports that the next record of a partition cannot be read.
    pub(super) fn mark_unreadable(&mut self, assignment: AssignmentId, offset: i64) {
        if self.current(assignment).is_none_or(|partition| partition.position() != offset) {
            return;
        }
        let key = (assignment.pipeline, assignment.partition);
        if self.unreadable.insert(key, offset) == Some(offset) {
            return;
        }
        let topic = &self.pipelines[assignment.pipeline].destination.target.topic;
        let why = why(offset);
        error!(topic = &**topic, partition = assignment.partition, offset, why, "a record cannot be read");
        self.services.status.set_trouble(topic, assignment.partition, Some(why));
    }

    /// Returns why a partition is stalled, if its next record cannot be read.
    pub(super) fn why_unreadable(&self, key: (usize, i32)) -> Option<String> {
        self.unreadable.get(&key).map(|offset| why(*offset))
    }

    /// Clears the report once a record at or after the unreadable one has arrived.
    pub(super) fn clear_unreadable(&mut self, key: (usize, i32), offset: i64) {
        if self.unreadable.get(&key).is_some_and(|unreadable| offset >= *unreadable) {
            self.unreadable.remove(&key);
            self.services.status.set_trouble(&self.pipelines[key.0].destination.target.topic, key.1, None);
        }
    }
}

fn why(offset: i64) -> String {
    format!(
        "the record at offset {offset} cannot be read: its batch is corrupt, of an unknown codec, or too large after \
         decompression; raise ingest.memory_budget or ingest.kafka.\"receive.message.max.bytes\" if it is too large, or skip \
         it with `sluice ingest offsets skip`"
    )
}
