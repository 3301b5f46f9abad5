//! Backpressure when memory is short: which partitions pause, and which batch is sealed early.
//! The budget's pressure on a pipeline becomes holds on its partitions. If nothing in flight will free memory, the largest open
//! batch is sealed. It never drops a record, and never makes an active pipeline that has memory wait for another.

use std::time::Instant;

use super::state::Assignment;
use crate::batch::budget::Pressure;
use crate::batch::limits::SealReason;
use crate::lane::partition::{Hold, Partition};

impl Assignment {
    /// Whether polling should wait, so that records stay in librdkafka's queue. A pause discards them, and they are fetched
    /// again; but it lets other pipelines continue and keeps serving the group.
    pub fn waits_for_memory(&mut self, now: Instant) -> bool {
        let budget = &self.services.budget;
        let is_exempt = self.is_draining || self.partitions.values().any(Partition::may_exceed_budget);
        !is_exempt && self.shortage.should_wait(now, |pipeline| budget.pressure(pipeline) == Pressure::High)
    }

    /// Holds the partition if memory is short and waiting has not helped. Returns whether consuming should pause for now.
    pub(super) fn apply_backpressure(&mut self, key: (usize, i32), now: Instant) -> bool {
        let is_short = self.services.budget.pressure(key.0) == Pressure::High;
        let must_hold = is_short && !self.waits_for_memory(now);
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        if partition.may_exceed_budget() {
            return partition.is_held(Hold::Ranges);
        }
        if must_hold {
            partition.hold(Hold::Memory);
        }
        is_short || partition.is_held(Hold::Ranges)
    }

    /// The partitions of a pipeline.
    fn partitions_of(&self, pipeline: usize) -> impl Iterator<Item = (&(usize, i32), &Partition)> {
        self.partitions.range((pipeline, i32::MIN)..=(pipeline, i32::MAX))
    }

    /// Holds or releases the partitions of a pipeline according to its memory pressure.
    pub(super) fn update_backpressure(&mut self, pipeline: usize, now: Instant) {
        let pressure = self.services.budget.pressure(pipeline);
        let waits = self.waits_for_memory(now);
        let may_resume = pressure == Pressure::Low && !self.has_queued_work(pipeline);
        for (_, partition) in self.partitions.range_mut((pipeline, i32::MIN)..=(pipeline, i32::MAX)) {
            match pressure {
                Pressure::High if waits || partition.may_exceed_budget() => {}
                Pressure::High => partition.hold(Hold::Memory),
                Pressure::Low if may_resume => partition.release(Hold::Memory),
                Pressure::Low | Pressure::Medium => {}
            }
        }
        let is_held = self.partitions_of(pipeline).any(|(_, partition)| partition.is_held(Hold::Memory));
        let is_short = is_held || pressure == Pressure::High;
        // Without a batch in flight, nothing else will free memory.
        if is_short && !self.partitions_of(pipeline).any(|(_, partition)| partition.is_busy()) {
            self.free_memory(pipeline);
        }
        let count = |test: fn(&Partition) -> bool| {
            self.partitions_of(pipeline).filter(|(_, partition)| test(partition)).count()
        };
        let topic = &self.pipelines[pipeline].destination.target.topic;
        self.services.metrics.set_flow(topic, self.services.budget.used(pipeline), count(Partition::is_paused));
        self.services.metrics.set_breaker_open(topic, count(|partition| partition.is_held(Hold::Breaker)));
    }

    /// Whether more than half of the partitions whose store is available have a batch waiting. A pause discards what was
    /// fetched for a partition, so it resumes only when much can be consumed before the next pause.
    fn has_queued_work(&self, pipeline: usize) -> bool {
        let writable = || self.partitions_of(pipeline).filter(|(_, partition)| !partition.is_held(Hold::Store));
        writable().filter(|(_, partition)| partition.has_sealed()).count() * 2 > writable().count()
    }

    /// Seals the largest open batch. If all open batches are announced ranges, which must be completed, lets the largest
    /// exceed the budget, one at a time.
    fn free_memory(&mut self, pipeline: usize) {
        let largest = |is_resealing: bool| {
            let open =
                self.partitions_of(pipeline).filter(|(_, p)| p.is_resealing() == is_resealing && p.open_bytes() > 0);
            open.max_by_key(|(_, partition)| partition.open_bytes()).map(|(key, _)| *key)
        };
        if let Some(key) = largest(false) {
            self.seal(key, SealReason::Pressure);
        } else if let Some(partition) = largest(true).and_then(|key| self.partitions.get_mut(&key)) {
            partition.exceed_budget();
        }
    }
}
