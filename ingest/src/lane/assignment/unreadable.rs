//! Partitions whose next record Kafka's client cannot read.
//! Offsets go in; the log and `/readyz` name them. Everything before such a record lands and is committed as always, so that
//! an operator can pass over exactly what cannot be read.

use tracing::error;

use super::state::Assignment;
use crate::event::Assigned;

impl Assignment {
    /// Topic, assignment and next offset of every partition that takes records in.
    pub fn next_offsets(&self) -> Vec<(String, Assigned, i64)> {
        let flowing = self.partitions.iter().filter(|(_, partition)| !partition.discards_input());
        flowing
            .map(|(key, own)| (self.sources[key.0].destination.target.topic.to_string(), own.owner, own.position()))
            .collect()
    }

    /// The record that comes next in a partition cannot be read.
    pub(super) fn mark_unreadable(&mut self, owner: Assigned, offset: i64) {
        if self.current(owner).is_none_or(|partition| partition.position() != offset) {
            return;
        }
        let key = (owner.pipeline, owner.partition);
        if self.unreadable.insert(key, offset) == Some(offset) {
            return;
        }
        let topic = &self.sources[owner.pipeline].destination.target.topic;
        let why = why(offset);
        error!(topic = &**topic, partition = owner.partition, offset, why, "a record cannot be read");
        self.tools.status.set_trouble(topic, owner.partition, Some(why));
    }

    /// Why a partition gets nothing, if its next record cannot be read.
    pub(super) fn why_unreadable(&self, key: (usize, i32)) -> Option<String> {
        self.unreadable.get(&key).map(|offset| why(*offset))
    }

    /// A record came: what could not be read was passed.
    pub(super) fn clear_unreadable(&mut self, key: (usize, i32), offset: i64) {
        if self.unreadable.get(&key).is_some_and(|unreadable| offset >= *unreadable) {
            self.unreadable.remove(&key);
            self.tools.status.set_trouble(&self.sources[key.0].destination.target.topic, key.1, None);
        }
    }
}

fn why(offset: i64) -> String {
    format!(
        "the record at offset {offset} cannot be read: its batch is corrupt, of an unknown codec, or too large once it is \
         decompressed; raise ingest.memory_budget or ingest.kafka.\"receive.message.max.bytes\" if it is too large, or pass \
         over it with `sluice ingest offsets skip`"
    )
}
