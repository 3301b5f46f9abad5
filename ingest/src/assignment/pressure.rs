//! Memory that runs short: who waits, who pauses, whose batch is cut.
//! In: the pressure that the budget puts on a pipeline. Out: holds on its partitions, and a word to the consume loop to take
//! nothing in for a moment. Never drops a record, and never makes a pipeline with room wait for another.
//!
//! librdkafka throws away what it has fetched for a partition that pauses, and fetches it once more when the partition goes
//! on: the broker and the client do the same work twice. So while a batch is on its way, and nobody else would have to wait,
//! a pipeline that is short first takes nothing in for a moment; mostly the batch lands in it and gives its memory back.

use std::time::{Duration, Instant};

use super::Assignment;
use crate::batch::Cut;
use crate::budget::Pressure;
use crate::partition::{Hold, Partition};

/// How long a pipeline that is short of memory waits for a batch to land before its partitions pause.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);

impl Assignment {
    /// Whether nothing should be taken in for the moment.
    pub fn awaits_room(&self, now: Instant) -> bool {
        let is_short = |(pipeline, since): (usize, &Option<Instant>)| {
            since.is_some_and(|since| self.is_worth_waiting(pipeline, since, now))
                && self.tools.budget.pressure(pipeline) == Pressure::High
        };
        self.short_since.iter().enumerate().any(is_short)
    }

    /// Whether a pipeline that is short of memory waits instead of pausing.
    fn waits(&mut self, pipeline: usize, now: Instant) -> bool {
        let since = *self.short_since[pipeline].get_or_insert(now);
        self.is_worth_waiting(pipeline, since, now)
    }

    fn is_worth_waiting(&self, pipeline: usize, since: Instant, now: Instant) -> bool {
        let budget = &self.tools.budget;
        let mut others = (0..self.sources.len()).filter(|other| *other != pipeline);
        now.saturating_duration_since(since) < ROOM_PATIENCE
            && others.all(|other| budget.used(other) == 0 || budget.pressure(other) == Pressure::High)
            && self.of_pipeline(pipeline).any(|(_, partition)| partition.is_busy())
    }

    /// Holds the partition if memory is short and waiting does not help.
    pub(super) fn press(&mut self, key: (usize, i32), now: Instant) -> bool {
        let is_short = self.tools.budget.pressure(key.0) == Pressure::High;
        let holds = is_short && !self.waits(key.0, now);
        let Some(partition) = self.partitions.get_mut(&key) else { return false };
        if holds {
            partition.hold(Hold::Memory);
        }
        holds || partition.is_held(Hold::Ranges)
    }

    /// The partitions of a pipeline.
    fn of_pipeline(&self, pipeline: usize) -> impl Iterator<Item = (&(usize, i32), &Partition)> {
        self.partitions.range((pipeline, i32::MIN)..=(pipeline, i32::MAX))
    }

    /// Applies the pressure on a pipeline's memory to its partitions.
    pub(super) fn relieve(&mut self, pipeline: usize, now: Instant) {
        let pressure = self.tools.budget.pressure(pipeline);
        let waits = pressure == Pressure::High && self.waits(pipeline, now);
        if pressure != Pressure::High {
            self.short_since[pipeline] = None;
        }
        for (_, partition) in self.partitions.range_mut((pipeline, i32::MIN)..=(pipeline, i32::MAX)) {
            match pressure {
                Pressure::High if waits => {}
                Pressure::High => partition.hold(Hold::Memory),
                Pressure::Low => partition.release(Hold::Memory),
                Pressure::Between => {}
            }
        }
        let is_short = self.of_pipeline(pipeline).any(|(_, partition)| partition.is_held(Hold::Memory));
        // Nothing on its way means that nothing will be freed by itself.
        if is_short && !self.of_pipeline(pipeline).any(|(_, partition)| partition.is_busy()) {
            self.make_room(pipeline);
        }
        let count =
            |is: fn(&Partition) -> bool| self.of_pipeline(pipeline).filter(|(_, partition)| is(partition)).count();
        let topic = &self.sources[pipeline].target.topic;
        self.tools.metrics.flow(topic, self.tools.budget.used(pipeline), count(Partition::is_paused));
        self.tools.metrics.broken(topic, count(|partition| partition.is_held(Hold::Breaker)));
    }

    /// Seals the largest open batch; where all of them are ranges that were announced before and must be taken in whole,
    /// lets the largest go on above the budget, one at a time.
    fn make_room(&mut self, pipeline: usize) {
        let largest = |recutting: bool| {
            let some = self.of_pipeline(pipeline).filter(|(_, p)| p.is_recutting() == recutting && p.open_bytes() > 0);
            some.max_by_key(|(_, partition)| partition.open_bytes()).map(|(key, _)| *key)
        };
        if let Some(key) = largest(false) {
            self.seal(key, Cut::Pressure);
        } else if let Some(partition) = largest(true).and_then(|key| self.partitions.get_mut(&key)) {
            partition.release(Hold::Memory);
        }
    }
}
