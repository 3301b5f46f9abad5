//! Who exists: tenants, customers, campaigns, agents and the past, each a pure function of (seed, tenant, index).
//! A scenario goes in, records come out in any order and as often as wanted. Never stores what it can compute.

use chrono::{DateTime, Utc};
use sluice_schemas::records::{AgentMetric, Campaign, Communication, CommunicationEvent, Customer, CustomerInteraction};
use uuid::Uuid;

use crate::scenario::Scenario;

/// One tenant and how much of everything it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Place, from 0; the largest comes first.
    pub index: usize,
    /// Identity.
    pub id: Uuid,
    /// Name for people.
    pub name: String,
    /// Customers.
    pub customers: u64,
    /// Campaigns.
    pub campaigns: u64,
    /// Agents.
    pub agents: u64,
    /// Past communications, loaded before the drive.
    pub history: u64,
    /// Past agent metrics, loaded before the drive.
    pub history_metrics: u64,
    /// Communications that are driven.
    pub communications: u64,
    /// Agent metrics that are driven.
    pub metrics: u64,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Identity, unique within all tenants.
    pub id: String,
    /// Kind, such as `negotiator`.
    pub kind: &'static str,
}

/// Everyone.
#[derive(Debug, Clone)]
pub struct Population {
    tenants: Vec<Tenant>,
}

impl Population {
    /// The population of a scenario.
    pub fn new(scenario: &Scenario) -> Self {
        unimplemented!("{scenario:?}")
    }

    /// All tenants, largest first.
    pub fn tenants(&self) -> &[Tenant] {
        &self.tenants
    }

    /// Customer `index` of a tenant, `0..tenant.customers`.
    pub fn customer(&self, tenant: usize, index: u64) -> Customer {
        unimplemented!("{tenant} {index}")
    }

    /// Campaign `index` of a tenant, `0..tenant.campaigns`.
    pub fn campaign(&self, tenant: usize, index: u64) -> Campaign {
        unimplemented!("{tenant} {index}")
    }

    /// Agent `index` of a tenant, `0..tenant.agents`.
    pub fn agent(&self, tenant: usize, index: u64) -> Agent {
        unimplemented!("{tenant} {index}")
    }

    /// Past communication `index` of a tenant, `0..tenant.history`, in order of `created_at`.
    pub fn history(&self, tenant: usize, index: u64) -> Communication {
        unimplemented!("{tenant} {index}")
    }

    /// Events of past communication `index`, all before the scenario's start.
    pub fn history_events(&self, tenant: usize, index: u64) -> Vec<CommunicationEvent> {
        unimplemented!("{tenant} {index}")
    }

    /// Interactions of past communication `index`.
    pub fn history_interactions(&self, tenant: usize, index: u64) -> Vec<CustomerInteraction> {
        unimplemented!("{tenant} {index}")
    }

    /// Past agent metric `index`, `0..tenant.history_metrics`, in order of time.
    pub fn history_metric(&self, tenant: usize, index: u64) -> AgentMetric {
        unimplemented!("{tenant} {index}")
    }

    /// First and one past the last instant of the loaded past: `start - history_span .. start`.
    pub fn past(&self) -> std::ops::Range<DateTime<Utc>> {
        unimplemented!()
    }
}
