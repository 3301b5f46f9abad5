//! The plan: every write and every probe of a drive with its intended start, a pure function of the seeds.
//! It never reads a clock.
//!
//! # Layout
//! - [`Shard`]: a part of a plan, which one of several generators drives
//! - `warp`: when simulated time is driven; `askers`: which tenants ask when
//! - `writes`, `probes`: all writes, and all questions that are asked at a rate
//! - `users`: what users ask, one question at a time
//! - `digest`: the digest of both

mod askers;
mod digest;
mod probes;
mod shard;
mod users;
mod warp;
mod writes;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sluice_schemas::records::{
    AgentMetric, Channel, Communication, CommunicationEvent, CustomerInteraction, EventType,
};

use crate::{
    parallel,
    population::{Era, Population, Tenant, trial_seed},
    question::{Key, Question},
    scenario::Scenario,
};
use askers::Askers;
use warp::Warp;

pub use digest::Digests;
pub use shard::{BadShard, Shard};

/// A record and its intended start.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<T> {
    /// Wall time since the first write: the start of the warm-up if that writes, otherwise the start of the drive.
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

/// What a user does next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// How long the user thinks before the question.
    pub think: Duration,
    /// The question.
    pub question: Question,
    /// Index of the user's tenant.
    pub tenant: usize,
    /// The key that it asks about.
    pub key: Key,
}

/// Number of records of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    warps: Arc<[Warp]>,
    askers: Arc<AllAskers>,
}

/// The tenants that ask during the warm-up, and during the drive with and without the calendar.
#[derive(Debug)]
struct AllAskers {
    warm_up: Askers,
    drive: Askers,
    by_calendar: Askers,
}

impl Plan {
    /// The plan of a scenario.
    pub fn new(scenario: &Scenario, population: &Population) -> Self {
        let warps: Arc<[Warp]> = Warp::of_tenants(scenario, population).into();
        let askers = AllAskers {
            warm_up: Askers::of_warm_up(scenario, population),
            drive: Askers::of_drive(scenario, population, &warps, false),
            by_calendar: Askers::of_drive(scenario, population, &warps, true),
        };
        Self { population: population.clone(), scenario: Arc::new(scenario.clone()), warps, askers: Arc::new(askers) }
    }

    /// The plan of trial `number` of a session whose first trial, number 0, has this plan. Its records and keys are its own.
    /// `scenario` is that of the session, at any rate.
    #[must_use]
    pub fn of_trial(&self, number: u32, scenario: &Scenario) -> Self {
        let key_seed = trial_seed(scenario.key_seed, number);
        let population = self.population.of_trial(number, scenario);
        Self::new(&Scenario { key_seed, ..scenario.clone() }, &population)
    }

    /// The population.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// The start of the simulated time that a later trial drives; `None` for the first one. What an account finds before it
    /// belongs to the past or to an earlier trial.
    pub(crate) fn since(&self) -> Option<DateTime<Utc>> {
        (self.population.trial() > 0).then(|| self.population.driven_period().start)
    }

    /// Communication `index` of a tenant, `0..tenant.driven_communications`, in order of time.
    pub fn communication(&self, tenant: usize, index: u64) -> Planned<Communication> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let record = self.population.communication(Era::Drive, tenant, index, &lifecycle);
        Planned { at: self.at(tenant, lifecycle.steps()[0].millis), tenant, record }
    }

    /// Events of communication `index`, in order of time.
    pub fn events(&self, tenant: usize, index: u64) -> Vec<Planned<CommunicationEvent>> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let event = |step| self.population.event(Era::Drive, tenant, index, &lifecycle, step);
        let planned = |(step, at): (usize, _)| Planned { at, tenant, record: event(step) };
        lifecycle.steps().iter().map(|step| self.at(tenant, step.millis)).enumerate().map(planned).collect()
    }

    /// When each event of communication `index` starts, its channel and type, and its timestamp, in order of time.
    pub(crate) fn event_starts(
        &self,
        tenant: usize,
        index: u64,
    ) -> Vec<(Duration, (Channel, EventType), DateTime<Utc>)> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let (channel, drive) = (lifecycle.channel, self.population.driven_period());
        let steps = lifecycle.steps().iter();
        steps.map(|step| (self.at(tenant, step.millis), (channel, step.event), drive.at(step.millis))).collect()
    }

    /// The scenario.
    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Interactions of communication `index`, in order of time.
    pub fn interactions(&self, tenant: usize, index: u64) -> Vec<Planned<CustomerInteraction>> {
        let lifecycle = self.population.lifecycle(Era::Drive, tenant, index);
        let interaction = |step| self.population.interaction(Era::Drive, tenant, index, &lifecycle, step);
        let planned = |(step, at): (usize, _)| Some(Planned { at, tenant, record: interaction(step)? });
        lifecycle.steps().iter().map(|step| self.at(tenant, step.millis)).enumerate().filter_map(planned).collect()
    }

    /// Agent metric `index` of a tenant, `0..tenant.driven_metrics`, in order of time.
    pub fn metric(&self, tenant: usize, index: u64) -> Planned<AgentMetric> {
        let at = self.at(tenant, self.population.metric_millis(tenant, index));
        Planned { at, tenant, record: self.population.metric(Era::Drive, tenant, index) }
    }

    /// Number of a tenant's planned records of each kind. Counts interactions one by one, which is slow for millions.
    pub fn totals(&self, tenant: usize) -> Totals {
        self.totals_of(tenant, Shard::WHOLE)
    }

    /// The part of [`Plan::totals`] that a shard writes.
    pub fn totals_of(&self, tenant: usize, shard: Shard) -> Totals {
        let owner = &self.population.tenants()[tenant];
        if !shard.is_whole() {
            return self.count_own(tenant, shard);
        }
        let interactions = |index| self.follow_ups(Era::Drive, tenant, index).1;
        Totals {
            communications: owner.driven_communications,
            events: self.population.event_count(Era::Drive, tenant),
            interactions: (0..owner.driven_communications).map(interactions).sum(),
            metrics: owner.driven_metrics,
        }
    }

    /// The numbers of events and interactions of a communication.
    fn follow_ups(&self, era: Era, tenant: usize, index: u64) -> (u64, u64) {
        let lifecycle = self.population.lifecycle(era, tenant, index);
        let steps = lifecycle.steps().len();
        let reaction = |&step: &usize| self.population.interaction_kind(era, tenant, index, &lifecycle, step).is_some();
        (steps as u64, (0..steps).filter(reaction).count() as u64)
    }

    /// Number of the records of an era. Of each tenant, events and interactions are those of one in `step` communications, in
    /// proportion to all of them: exact if `step` is 1.
    pub(crate) fn estimated_totals(&self, era: Era, step: u64) -> Totals {
        let step = step.max(1);
        let of_tenant = |owner: &Tenant| {
            let (communications, metrics) = match era {
                Era::Past => (owner.past_communications, owner.past_metrics),
                Era::Drive => (owner.driven_communications, owner.driven_metrics),
            };
            let follow_ups =
                (0..communications).step_by(step as usize).map(|index| self.follow_ups(era, owner.index, index));
            let (events, interactions) = follow_ups.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let all = communications as f64 / communications.div_ceil(step).max(1) as f64;
            let [events, interactions] = [events, interactions].map(|count: u64| (count as f64 * all).round() as u64);
            Totals { communications, events, interactions, metrics }
        };
        parallel::map(self.population.tenants(), of_tenant).into_iter().sum()
    }

    /// Counts a shard's records one by one.
    fn count_own(&self, tenant: usize, shard: Shard) -> Totals {
        let owner = &self.population.tenants()[tenant];
        let mut totals = Totals::default();
        for index in (0..owner.driven_communications).filter(|&index| shard.writes(tenant, index)) {
            let (events, interactions) = self.follow_ups(Era::Drive, tenant, index);
            totals.communications += 1;
            totals.events += events;
            totals.interactions += interactions;
        }
        totals.metrics = (0..owner.driven_metrics).filter(|&index| shard.measures(tenant, index)).count() as u64;
        totals
    }

    /// Number of the planned records of all tenants, as slow as [`Plan::totals`].
    pub fn all_totals(&self) -> Totals {
        self.all_totals_of(Shard::WHOLE)
    }

    /// The part of [`Plan::all_totals`] that a shard writes.
    pub fn all_totals_of(&self, shard: Shard) -> Totals {
        self.population.tenants().iter().map(|tenant| self.totals_of(tenant.index, shard)).sum()
    }

    /// The wall time of a tenant's simulated millisecond, since the first write.
    fn at(&self, tenant: usize, millis: u64) -> Duration {
        self.warps[tenant].wall_time(millis)
    }
}

#[cfg(test)]
mod tests;
