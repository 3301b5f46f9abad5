//! Which partitions an operator has paused, including those not assigned to this worker yet. Pauses are never persisted.

use std::collections::BTreeMap;

/// Pauses set by operators, by pipeline and partition; an entry for a partition overrides the one for its topic.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<(usize, Option<i32>), bool>);

impl Pauses {
    /// Pauses or resumes a partition, or all partitions of a pipeline.
    pub(super) fn set(&mut self, pipeline: usize, partition: Option<i32>, is_paused: bool) {
        if partition.is_none() {
            self.0.retain(|(other, _), _| *other != pipeline);
        }
        self.0.insert((pipeline, partition), is_paused);
    }

    /// Whether a partition is paused.
    pub(super) fn is_paused(&self, pipeline: usize, partition: i32) -> bool {
        let entry = self.0.get(&(pipeline, Some(partition))).or_else(|| self.0.get(&(pipeline, None)));
        entry.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_for_a_partition_wins() {
        let mut pauses = Pauses::default();
        assert!(!pauses.is_paused(0, 3));
        pauses.set(0, None, true);
        assert!(pauses.is_paused(0, 3) && !pauses.is_paused(1, 3));
        pauses.set(0, Some(3), false);
        assert!(!pauses.is_paused(0, 3) && pauses.is_paused(0, 4));
        pauses.set(0, None, true);
        assert!(pauses.is_paused(0, 3), "pausing the topic overrides the partition");
    }
}
