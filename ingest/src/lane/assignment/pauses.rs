//! Which partitions an operator has paused, also those that this worker does not own yet. A restart forgets it.

use std::collections::BTreeMap;

/// What operators said about pausing, by pipeline and partition; what is said about a partition stands over what is said
/// about its topic.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<(usize, Option<i32>), bool>);

impl Pauses {
    /// An operator pauses or resumes a partition, or all of a pipeline.
    pub(super) fn say(&mut self, pipeline: usize, partition: Option<i32>, is_paused: bool) {
        if partition.is_none() {
            self.0.retain(|(owner, _), _| *owner != pipeline);
        }
        self.0.insert((pipeline, partition), is_paused);
    }

    /// Whether a partition is to be paused.
    pub(super) fn has(&self, pipeline: usize, partition: i32) -> bool {
        let said = self.0.get(&(pipeline, Some(partition))).or_else(|| self.0.get(&(pipeline, None)));
        said.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_last_about_a_partition_holds() {
        let mut pauses = Pauses::default();
        assert!(!pauses.has(0, 3));
        pauses.say(0, None, true);
        assert!(pauses.has(0, 3) && !pauses.has(1, 3));
        pauses.say(0, Some(3), false);
        assert!(!pauses.has(0, 3) && pauses.has(0, 4));
        pauses.say(0, None, true);
        assert!(pauses.has(0, 3), "the whole topic again");
    }
}
