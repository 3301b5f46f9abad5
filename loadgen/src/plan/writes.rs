//! All writes in order of their intended starts, computed on demand. It sends nothing and reads no clock.
//!
//! A tenant's communications and metrics are already in order, so a heap holds the next of each. When a communication
//! is taken, references to its events and interactions are added; they become records when they are due.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{Plan, Planned, Shard, Write};
use crate::population::Era;

/// A write that is due later. Ordered by time, then by kind, tenant, index and step, so that the order is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    /// Nanoseconds since the first write.
    nanos: u64,
    kind: Kind,
    tenant: u32,
    index: u64,
    step: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Communication,
    Event,
    Interaction,
    Metric,
}

impl Plan {
    /// All writes in order of `at`; a communication comes before its events. Holds 32 bytes for each outstanding event
    /// of a communication already taken, and no records.
    pub fn writes(&self) -> impl Iterator<Item = Planned<Write>> + Send + '_ {
        self.writes_of(Shard::WHOLE)
    }

    /// The part of [`Plan::writes`] that a shard writes.
    pub fn writes_of(&self, shard: Shard) -> impl Iterator<Item = Planned<Write>> + Send + '_ {
        Writes::new(self, shard)
    }
}

struct Writes<'a> {
    plan: &'a Plan,
    shard: Shard,
    due: BinaryHeap<Reverse<Due>>,
}

impl<'a> Writes<'a> {
    fn new(plan: &'a Plan, shard: Shard) -> Self {
        let mut writes = Self { plan, shard, due: BinaryHeap::new() };
        for tenant in 0..plan.population.tenants().len() {
            writes.push_communication(tenant, 0);
            writes.push_metric(tenant, 0);
        }
        writes
    }

    fn push(&mut self, millis: u64, kind: Kind, (tenant, index): (usize, u64), step: usize) {
        let nanos = self.plan.at(tenant, millis).as_nanos() as u64;
        self.due.push(Reverse(Due { nanos, kind, tenant: tenant as u32, index, step: step as u8 }));
    }

    /// Adds the shard's first communication from `index` on.
    fn push_communication(&mut self, tenant: usize, index: u64) {
        let mut own = index..self.plan.population.tenants()[tenant].driven_communications;
        if let Some(index) = own.find(|&index| self.shard.writes(tenant, index)) {
            let created = self.plan.population.lifecycle(Era::Drive, tenant, index).steps()[0].millis;
            self.push(created, Kind::Communication, (tenant, index), 0);
        }
    }

    /// Adds the shard's first metric from `index` on.
    fn push_metric(&mut self, tenant: usize, index: u64) {
        let mut own = index..self.plan.population.tenants()[tenant].driven_metrics;
        if let Some(index) = own.find(|&index| self.shard.measures(tenant, index)) {
            let millis = self.plan.population.metric_millis(tenant, index);
            self.push(millis, Kind::Metric, (tenant, index), 0);
        }
    }

    /// The record that is due; `None` if a step has no interaction.
    fn make(&mut self, due: Due) -> Option<Write> {
        let (tenant, index, step) = (due.tenant as usize, due.index, usize::from(due.step));
        let population = &self.plan.population;
        if due.kind == Kind::Metric {
            let metric = population.metric(Era::Drive, tenant, index);
            self.push_metric(tenant, index + 1);
            return Some(Write::Metric(metric));
        }
        let lifecycle = population.lifecycle(Era::Drive, tenant, index);
        match due.kind {
            Kind::Event => Some(Write::Event(population.event(Era::Drive, tenant, index, &lifecycle, step))),
            Kind::Interaction => {
                population.interaction(Era::Drive, tenant, index, &lifecycle, step).map(Write::Interaction)
            }
            Kind::Communication | Kind::Metric => {
                let communication = population.communication(Era::Drive, tenant, index, &lifecycle);
                self.push_communication(tenant, index + 1);
                for (step, planned) in lifecycle.steps().iter().enumerate() {
                    self.push(planned.millis, Kind::Event, (tenant, index), step);
                    if step > 0 {
                        self.push(planned.millis, Kind::Interaction, (tenant, index), step);
                    }
                }
                Some(Write::Communication(communication))
            }
        }
    }
}

impl Iterator for Writes<'_> {
    type Item = Planned<Write>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(Reverse(due)) = self.due.pop() {
            if let Some(record) = self.make(due) {
                return Some(Planned { at: Duration::from_nanos(due.nanos), tenant: due.tenant as usize, record });
            }
        }
        None
    }
}
