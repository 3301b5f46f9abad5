//! Memory that runs short: who pauses, and whose batch is cut.
//! In: the pressure that the budget puts on a pipeline. Out: holds on its partitions, and a batch sealed early where nothing
//! is on its way that would give memory back. Never drops a record, and never makes a pipeline with room wait for another.

use std::time::Instant;

use super::state::Assignment;
use crate::batch::budget::Pressure;
use crate::batch::limits::SealReason;
use crate::lane::partition::{Hold, Partition};

impl Assignment {
    /// Whether records should stay where they are for now, in librdkafka's queue. Pausing instead throws them away, and they
    /// are fetched again; but it leaves other pipelines their records, and goes on to serve the group.
    pub fn waits_for_memory(&mut self, now: Instant) -> bool {
        let budget = &self.tools.budget;
        let proceed = self.is_draining || self.partitions.values().any(Partition::may_exceed_budget);
        !proceed && self.shortage.waits(now, |pipeline| budget.pressure(pipeline) == Pressure::High)
    }

    /// Holds the partition if memory is short and waiting has not helped. Whether it is short.
    pub(super) fn press(&mut self, key: (usize, i32), now: Instant) -> bool {
        let is_short = self.tools.budget.pressure(key.0) == Pressure::High;
        let holds = is_short && !self.waits_for_memory(now);
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        if partition.may_exceed_budget() {
            return partition.is_held(Hold::Ranges);
        }
        if holds {
            partition.hold(Hold::Memory);
        }
        is_short || partition.is_held(Hold::Ranges)
    }

    /// The partitions of a pipeline.
    fn of_pipeline(&self, pipeline: usize) -> impl Iterator<Item = (&(usize, i32), &Partition)> {
        self.partitions.range((pipeline, i32::MIN)..=(pipeline, i32::MAX))
    }

    /// Applies the pressure on a pipeline's memory to its partitions.
    pub(super) fn relieve(&mut self, pipeline: usize, now: Instant) {
        let pressure = self.tools.budget.pressure(pipeline);
        let waits = self.waits_for_memory(now);
        let proceed = pressure == Pressure::Low && !self.is_supplied(pipeline);
        for (_, partition) in self.partitions.range_mut((pipeline, i32::MIN)..=(pipeline, i32::MAX)) {
            match pressure {
                Pressure::High if waits || partition.may_exceed_budget() => {}
                Pressure::High => partition.hold(Hold::Memory),
                Pressure::Low if proceed => partition.release(Hold::Memory),
                Pressure::Low | Pressure::Between => {}
            }
        }
        let is_held = self.of_pipeline(pipeline).any(|(_, partition)| partition.is_held(Hold::Memory));
        let is_short = is_held || pressure == Pressure::High;
        // Nothing on its way means that nothing will be freed by itself.
        if is_short && !self.of_pipeline(pipeline).any(|(_, partition)| partition.is_busy()) {
            self.make_room(pipeline);
        }
        let count =
            |is: fn(&Partition) -> bool| self.of_pipeline(pipeline).filter(|(_, partition)| is(partition)).count();
        let topic = &self.sources[pipeline].destination.target.topic;
        self.tools.metrics.flow(topic, self.tools.budget.used(pipeline), count(Partition::is_paused));
        self.tools.metrics.broken(topic, count(|partition| partition.is_held(Hold::Breaker)));
    }

    /// Whether more than half of the partitions that can go on have a batch waiting. What was fetched for a partition is
    /// thrown away when it pauses, and fetched again when it goes on, so as much as possible goes through in between.
    fn is_supplied(&self, pipeline: usize) -> bool {
        let able = || self.of_pipeline(pipeline).filter(|(_, partition)| !partition.is_held(Hold::Store));
        able().filter(|(_, partition)| partition.has_sealed()).count() * 2 > able().count()
    }

    /// Seals the largest open batch; where all of them are ranges that were announced before and must be taken in whole,
    /// lets the largest go on above the budget, one at a time.
    fn make_room(&mut self, pipeline: usize) {
        let largest = |recutting: bool| {
            let some = self.of_pipeline(pipeline).filter(|(_, p)| p.is_resealing() == recutting && p.open_bytes() > 0);
            some.max_by_key(|(_, partition)| partition.open_bytes()).map(|(key, _)| *key)
        };
        if let Some(key) = largest(false) {
            self.seal(key, SealReason::Pressure);
        } else if let Some(partition) = largest(true).and_then(|key| self.partitions.get_mut(&key)) {
            partition.exceed_budget();
        }
    }
}
