//! Who does what when: every write and every probe of a drive with its intended start, a pure function of the seeds.
//! A scenario and its population go in; records, intended starts and the right answers come out. Never looks at a clock.

mod known;
mod probes;

use std::{ops::Range, time::Duration};

use sluice_schemas::records::{AgentMetric, Communication, CommunicationEvent, CustomerInteraction};
use serde::Serialize;

use crate::{population::Population, scenario::{Question, Scenario}};

pub use known::{Expected, Known};
pub use probes::{Key, Probe};

/// A record and the intended instant of its production.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<T> {
    /// Since the start of the drive, in wall time.
    pub at: Duration,
    /// Index of the tenant.
    pub tenant: usize,
    /// The record; its own timestamp is the simulated time at `at`.
    pub record: T,
}

/// A planned write of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// To PostgreSQL.
    Communication(Communication),
    /// To `communication-events`.
    Event(CommunicationEvent),
    /// To `customer-interactions`.
    Interaction(CustomerInteraction),
    /// To `agent-metrics`.
    Metric(AgentMetric),
}

/// How many records of each kind are planned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Communications.
    pub communications: u64,
    /// Events.
    pub events: u64,
    /// Interactions.
    pub interactions: u64,
    /// Agent metrics.
    pub metrics: u64,
}

/// The plan of one drive.
#[derive(Debug, Clone)]
pub struct Plan {
    population: Population,
}

impl Plan {
    /// The plan of a scenario.
    pub fn new(scenario: &Scenario, population: &Population) -> Self {
        let _ = scenario;
        Self { population: population.clone() }
    }

    /// The population it moves.
    pub fn population(&self) -> &Population {
        &self.population
    }

    /// Communication `index` of a tenant, `0..tenant.communications`, in order of time.
    pub fn communication(&self, tenant: usize, index: u64) -> Planned<Communication> {
        unimplemented!("{tenant} {index}")
    }

    /// Events of communication `index`, in order of time.
    pub fn events(&self, tenant: usize, index: u64) -> Vec<Planned<CommunicationEvent>> {
        unimplemented!("{tenant} {index}")
    }

    /// Interactions of communication `index`, in order of time.
    pub fn interactions(&self, tenant: usize, index: u64) -> Vec<Planned<CustomerInteraction>> {
        unimplemented!("{tenant} {index}")
    }

    /// Agent metric `index` of a tenant, `0..tenant.metrics`, in order of time.
    pub fn metric(&self, tenant: usize, index: u64) -> Planned<AgentMetric> {
        unimplemented!("{tenant} {index}")
    }

    /// All writes in order of `at`.
    pub fn writes(&self) -> impl Iterator<Item = Planned<Write>> + Send + '_ {
        std::iter::empty()
    }

    /// Probes of one question during the drive, in order of `at`.
    pub fn probes(&self, question: Question) -> impl Iterator<Item = Probe> + Send + '_ {
        let _ = question;
        std::iter::empty()
    }

    /// Probes of one question during the warm-up, `at` counted from the start of the warm-up; with other keys.
    pub fn warm_up(&self, question: Question) -> impl Iterator<Item = Probe> + Send + '_ {
        let _ = question;
        std::iter::empty()
    }

    /// What is planned for a tenant.
    pub fn totals(&self, tenant: usize) -> Totals {
        unimplemented!("{tenant}")
    }

    /// `metadata.seq` of the driven events of a tenant: without gaps, each once. The loaded past has those below.
    pub fn event_seqs(&self, tenant: usize) -> Range<u64> {
        unimplemented!("{tenant}")
    }

    /// SHA-256 of everything planned, in hexadecimal, whatever the number of threads.
    pub fn digest(&self) -> String {
        unimplemented!()
    }
}
