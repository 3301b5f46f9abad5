//! Executes an operator's commands on the partitions, and responds with their status.
//! It never loses or duplicates a record.

use tracing::info;

use super::state::Assignment;
use crate::event::request::{Command, PartitionFilter, PartitionStatus, Request, UnknownTopic};
use crate::lane::partition::Hold;

impl Assignment {
    /// Executes a command and responds.
    pub(super) fn handle_request(&mut self, request: Request) {
        let Request { command, filter, reply } = request;
        // The client may have disconnected; the command remains in effect.
        drop(reply.send(self.execute(command, &filter)));
    }

    fn execute(&mut self, command: Command, filter: &PartitionFilter) -> Result<Vec<PartitionStatus>, UnknownTopic> {
        let pipelines = match &filter.topic {
            Some(topic) => vec![self.pipeline(topic).ok_or_else(|| UnknownTopic(topic.clone()))?],
            None => (0..self.pipelines.len()).collect(),
        };
        if matches!(command, Command::Pause | Command::Resume) {
            for pipeline in &pipelines {
                self.pauses.set(*pipeline, filter.partition, command == Command::Pause);
            }
        }
        let is_selected = |(pipeline, partition): &(usize, i32)| {
            pipelines.contains(pipeline) && filter.partition.is_none_or(|selected| selected == *partition)
        };
        let selected: Vec<_> = self.partitions.keys().copied().filter(is_selected).collect();
        let changed: Vec<_> = selected.into_iter().filter(|key| self.apply(command, *key)).collect();
        Ok(changed.into_iter().filter_map(|key| self.status_of(key)).collect())
    }

    /// Applies the command, and returns whether it changed the partition; always `true` for [`Command::Status`].
    fn apply(&mut self, command: Command, key: (usize, i32)) -> bool {
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        let was_paused = partition.is_held(Hold::Operator);
        let (is_changed, change) = match command {
            Command::Status => return true,
            Command::Pause => {
                partition.hold(Hold::Operator);
                (!was_paused, "paused by an operator")
            }
            Command::Resume => {
                partition.release(Hold::Operator);
                (was_paused, "resumed by an operator")
            }
            Command::Reset => (partition.reset_breaker(), "breaker reset by an operator"),
        };
        if is_changed {
            let topic = &self.pipelines[key.0].destination.target.topic;
            info!(topic = &**topic, partition = key.1, change, "executed an operator's command");
            if command == Command::Reset && !partition.is_held(Hold::Stopped) {
                self.services.status.set_trouble(topic, key.1, None);
            }
        }
        is_changed
    }

    fn status_of(&self, key: (usize, i32)) -> Option<PartitionStatus> {
        let partition = self.partitions.get(&key)?;
        let topic = self.pipelines[key.0].destination.target.topic.to_string();
        Some(PartitionStatus {
            trouble: self.services.status.trouble(&topic, key.1),
            topic,
            partition: key.1,
            position: partition.position(),
            watermark: partition.watermark(),
            committed: partition.committed(),
            lag: partition.lag(),
            held_back: partition.held_back(),
            holds: partition.holds().map(|why| why.as_str().to_owned()).collect(),
            ranges: partition.open_ranges(),
            bytes: partition.open_bytes() + partition.waiting_bytes(),
        })
    }
}
