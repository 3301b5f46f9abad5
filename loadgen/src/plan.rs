//! The plan: every write and every probe of a drive with its intended start, a pure function of the seeds.
//! It never reads a clock.

mod digest;
mod probes;
mod writes;

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use sluice_schemas::records::{AgentMetric, Communication, CommunicationEvent, CustomerInteraction};

use crate::{
    population::{Era, Population},
    question::{Key, Question},
    scenario::Scenario,
};

/// A record and its intended start.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<T> {
    /// Time since the start of the drive, in wall time.
    pub at: Duration,
    /// Index of the tenant.
    pub tenant: usize,
    /// The record; its timestamp is the simulated time at `at`.
    pub record: T,
}

/// A write, by its destination.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A row of PostgreSQL.
    Communication(Communication),
    /// A record of `communication-events`.
    Event(CommunicationEvent),
    /// A record of `customer-interactions`.
    Interaction(CustomerInteraction),
    /// A record of `agent-metrics`.
    Metric(AgentMetric),
}

/// A question with its intended start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Intended start, since the start of the drive.
    pub at: Duration,
    /// The question.
    pub question: Question,
    /// Index of the tenant that asks.
    pub tenant: usize,
    /// The key it asks about.
    pub key: Key,
}

/// Number of records of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Number of communications.
    pub communications: u64,
    /// Number of events.
    pub events: u64,
    /// Number of interactions.
    pub interactions: u64,
    /// Number of agent metrics.
    pub metrics: u64,
}

impl Totals {
    /// Number of records that go through Kafka.
    pub fn through_kafka(&self) -> u64 {
        self.events + self.interactions + self.metrics
    }

    /// Number of all records.
    pub fn all(&self) -> u64 {
        self.communications + self.through_kafka()
    }
}

impl std::iter::Sum for Totals {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            communications: a.communications + b.communications,
            events: a.events + b.events,
            interactions: a.interactions + b.interactions,
            metrics: a.metrics + b.metrics,
        })
    }
}

/// The plan of one drive; cheap to clone.
#[derive(Debug, Clone)]
pub struct Plan {
    population: Population,
    scenario: Arc<Scenario>,
}

impl Plan {
    /// The plan of a scenario.
    pub fn new(scenario: &Scenario, population: &Population) -> Self {
        Self { population: population.clone(), scenario: Arc::new(scenario.clone()) }
    }

    /// The population.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// Communication `index` of a tenant, `0..tenant.driven_communications`, in order of time.
    pub fn communication(&self, tenant: usize, index: u64) -> Planned<Communication> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let record = self.population.communication(Era::Drive, tenant, index, &lifecycle);
        Planned { at: self.at(lifecycle.steps()[0].millis), tenant, record }
    }

    /// Events of communication `index`, in order of time.
    pub fn events(&self, tenant: usize, index: u64) -> Vec<Planned<CommunicationEvent>> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let event = |step| self.population.event(Era::Drive, tenant, index, &lifecycle, step);
        let planned = |(step, at): (usize, _)| Planned { at, tenant, record: event(step) };
        lifecycle.steps().iter().map(|step| self.at(step.millis)).enumerate().map(planned).collect()
    }

    /// Interactions of communication `index`, in order of time.
    pub fn interactions(&self, tenant: usize, index: u64) -> Vec<Planned<CustomerInteraction>> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let interaction = |step| self.population.interaction(Era::Drive, tenant, index, &lifecycle, step);
        let planned = |(step, at): (usize, _)| Some(Planned { at, tenant, record: interaction(step)? });
        lifecycle.steps().iter().map(|step| self.at(step.millis)).enumerate().filter_map(planned).collect()
    }

    /// Agent metric `index` of a tenant, `0..tenant.driven_metrics`, in order of time.
    pub fn metric(&self, tenant: usize, index: u64) -> Planned<AgentMetric> {
        let at = self.at(self.population.metric_millis(tenant, index));
        Planned { at, tenant, record: self.population.metric(Era::Drive, tenant, index) }
    }

    /// Number of a tenant's planned records of each kind. Counts interactions one by one, which is slow for millions.
    pub fn totals(&self, tenant: usize) -> Totals {
        let owner = &self.population.tenants()[tenant];
        let interactions = |index| {
            let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
            let reaction =
                |&step: &usize| self.population.interaction_kind(Era::Drive, tenant, index, &lifecycle, step).is_some();
            (0..lifecycle.steps().len()).filter(reaction).count() as u64
        };
        Totals {
            communications: owner.driven_communications,
            events: self.population.event_count(Era::Drive, tenant),
            interactions: (0..owner.driven_communications).map(interactions).sum(),
            metrics: owner.driven_metrics,
        }
    }

    /// Number of the planned records of all tenants, as slow as [`Plan::totals`].
    pub fn all_totals(&self) -> Totals {
        self.population.tenants().iter().map(|tenant| self.totals(tenant.index)).sum()
    }

    /// Converts simulated milliseconds to wall time.
    fn at(&self, millis: u64) -> Duration {
        let (wall, simulated) = (self.scenario.duration.as_nanos(), self.scenario.span.as_millis());
        Duration::from_nanos((u128::from(millis) * wall / simulated) as u64)
    }
}

#[cfg(test)]
mod tests;
