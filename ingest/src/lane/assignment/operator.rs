//! What an operator wants of the partitions, and what the breaker has to tell one.
//! Commands go in and are answered; logs, metrics and `/readyz` come out.

use tracing::info;

use super::state::Assignment;
use crate::event::request::{Command, PartitionStatus, Request, UnknownTopic, Which};
use crate::lane::partition::Hold;

impl Assignment {
    /// Does what an operator wants and answers.
    pub(super) fn handle_request(&mut self, request: Request) {
        let Request { command, which, answer } = request;
        // Whoever asked may have gone away; what was done stays done.
        drop(answer.send(self.execute(command, &which)));
    }

    fn execute(&mut self, command: Command, which: &Which) -> Result<Vec<PartitionStatus>, UnknownTopic> {
        let pipelines = match &which.topic {
            Some(topic) => vec![self.pipeline(topic).ok_or_else(|| UnknownTopic(topic.clone()))?],
            None => (0..self.sources.len()).collect(),
        };
        if matches!(command, Command::Pause | Command::Resume) {
            for pipeline in &pipelines {
                self.pauses.say(*pipeline, which.partition, command == Command::Pause);
            }
        }
        let is_meant = |(pipeline, partition): &(usize, i32)| {
            pipelines.contains(pipeline) && which.partition.is_none_or(|wanted| wanted == *partition)
        };
        let meant: Vec<_> = self.partitions.keys().copied().filter(is_meant).collect();
        let changed: Vec<_> = meant.into_iter().filter(|key| self.apply(command, *key)).collect();
        Ok(changed.into_iter().filter_map(|key| self.status_of(key)).collect())
    }

    /// Says whether it concerned the partition.
    fn apply(&mut self, command: Command, key: (usize, i32)) -> bool {
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        let was_paused = partition.is_held(Hold::Operator);
        let (is_news, what) = match command {
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
        if is_news {
            let topic = &self.sources[key.0].destination.target.topic;
            info!(topic = &**topic, partition = key.1, what, "an operator's command is carried out");
            if command == Command::Reset && !partition.is_held(Hold::Stopped) {
                self.tools.status.set_trouble(topic, key.1, None);
            }
        }
        is_news
    }

    fn status_of(&self, key: (usize, i32)) -> Option<PartitionStatus> {
        let partition = self.partitions.get(&key)?;
        let topic = self.sources[key.0].destination.target.topic.to_string();
        Some(PartitionStatus {
            trouble: self.tools.status.trouble(&topic, key.1),
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
