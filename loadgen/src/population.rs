//! The population: tenants, customers, campaigns, agents and the past, each a pure function of (seed, tenant, index).
//! Records are computed on demand, in any order and on any thread. It never stores records: only the tenants' sizes,
//! their daily curves, and a byte or two per communication for the sequence numbers of its events.
//!
//! # Layout
//! - `parameters`, `tenants`, `tenant_state`: the inputs, the tenants, and what is stored per tenant
//! - `era`, [`calendar`]: the two periods, and when in a period records occur
//! - `slots`, `lifecycle`: the customer of a communication, and its steps
//! - `people`, `records`, `words`: customers, campaigns and agents; the records of a lifecycle; the texts of messages
//! - `rng`: keyed random numbers

pub mod calendar;
mod era;
pub(crate) mod lifecycle;
mod parameters;
mod people;
mod records;
pub(crate) mod rng;
mod slots;
mod tenant_state;
mod tenants;
pub(crate) mod words;

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};
use sluice_schemas::records::{
    AgentMetric, Campaign, Communication, CommunicationEvent, Customer, CustomerInteraction,
};
use uuid::Uuid;

use calendar::Period;
use lifecycle::{Lifecycle, LifecycleInputs};
use rng::KeyedRng;
use tenant_state::{EventCounts, TenantState};

pub use parameters::Parameters;
pub use people::Agent;
pub use tenants::{Tenant, TenantClass};

pub(crate) use era::Era;
pub(crate) use people::{PORTFOLIOS, RISKS, Traits};
pub(crate) use tenants::METRIC_NAMES;

/// Number of customers of each tenant, without preparing the population.
pub fn customers_of_tenants(parameters: &Parameters) -> Vec<u64> {
    tenants::customers(parameters)
}

/// A population; cheap to clone.
#[derive(Debug, Clone)]
pub struct Population(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: u64,
    metric_interval_ms: u64,
    past: Period,
    drive: Period,
    tenants: Vec<Tenant>,
    states: Vec<TenantState>,
}

impl Population {
    /// Prepares a population: counts the events of every communication once.
    pub fn new(parameters: impl Into<Parameters>) -> Self {
        let parameters = parameters.into();
        let millis = |duration: std::time::Duration| duration.as_millis() as u64;
        let past_start = parameters.start - parameters.history_span;
        let past = Period { start: past_start, millis: millis(parameters.history_span) };
        let drive = Period { start: parameters.start, millis: millis(parameters.span) };
        let tenants = tenants::generate(&parameters);
        let state = |tenant: &Tenant| TenantState::new(tenant, parameters.seed, &past, &drive);
        let states = tenants.iter().map(state).collect();
        let metric_interval_ms = millis(parameters.metric_interval);
        let mut inner = Inner { seed: parameters.seed, metric_interval_ms, past, drive, states, tenants };
        for tenant in 0..inner.tenants.len() {
            for era in [Era::Past, Era::Drive] {
                let counts = inner.count_events(era, tenant);
                *inner.states[tenant].events_mut(era) = counts;
            }
        }
        Self(Arc::new(inner))
    }

    /// All tenants in decreasing size, except for rounding.
    pub fn tenants(&self) -> &[Tenant] {
        &self.0.tenants
    }

    /// First and one past the last instant of the loaded past.
    pub fn past(&self) -> Range<DateTime<Utc>> {
        self.0.past.start..self.0.past.end()
    }

    /// Customer `index` of a tenant, `0..tenant.customers`.
    pub fn customer(&self, tenant: usize, index: u64) -> Customer {
        let owner = &self.tenants()[tenant];
        let mut rng = self.rng("customers", tenant, index);
        let traits = Traits::draw(&mut rng, owner.region);
        people::customer(owner, index, self.customer_id(tenant, index), &traits, &mut rng, self.0.past.start)
    }

    /// Identifier of customer `index`.
    pub fn customer_id(&self, tenant: usize, index: u64) -> Uuid {
        self.id("customer ids", tenant, index)
    }

    /// Campaign `index` of a tenant, `0..tenant.campaigns`.
    pub fn campaign(&self, tenant: usize, index: u64) -> Campaign {
        let id = self.campaign_id(tenant, index);
        let mut rng = self.rng("campaigns", tenant, index);
        people::campaign(&self.tenants()[tenant], index, id, &mut rng, self.0.past.start)
    }

    /// Identifier of campaign `index`.
    pub fn campaign_id(&self, tenant: usize, index: u64) -> Uuid {
        self.id("campaign ids", tenant, index)
    }

    /// Agent `index` of a tenant, `0..tenant.agents`.
    pub fn agent(&self, tenant: usize, index: u64) -> Agent {
        people::agent(tenant, index)
    }

    /// Past communication `index` of a tenant, `0..tenant.past_communications`, in order of `created_at`.
    pub fn past_communication(&self, tenant: usize, index: u64) -> Communication {
        self.communication(Era::Past, tenant, index, &self.lifecycle(Era::Past, tenant, index))
    }

    /// Events of past communication `index`, in order, all before the drive.
    pub fn past_events(&self, tenant: usize, index: u64) -> Vec<CommunicationEvent> {
        let lifecycle = self.lifecycle(Era::Past, tenant, index);
        (0..lifecycle.steps().len()).map(|step| self.event(Era::Past, tenant, index, &lifecycle, step)).collect()
    }

    /// Interactions of past communication `index`, in order, all before the drive.
    pub fn past_interactions(&self, tenant: usize, index: u64) -> Vec<CustomerInteraction> {
        let lifecycle = self.lifecycle(Era::Past, tenant, index);
        (0..lifecycle.steps().len())
            .filter_map(|step| self.interaction(Era::Past, tenant, index, &lifecycle, step))
            .collect()
    }

    /// Past agent metric `index`, `0..tenant.past_metrics`, in order of time.
    pub fn past_metric(&self, tenant: usize, index: u64) -> AgentMetric {
        self.metric(Era::Past, tenant, index)
    }

    /// The simulated time of the drive.
    pub(crate) fn driven_period(&self) -> &Period {
        self.period(Era::Drive)
    }

    pub(crate) fn period(&self, era: Era) -> &Period {
        self.0.period(era)
    }

    pub(crate) fn lifecycle(&self, era: Era, tenant: usize, index: u64) -> Lifecycle {
        self.0.lifecycle(era, tenant, index)
    }

    pub(crate) fn traits(&self, tenant: usize, index: u64) -> Traits {
        self.0.traits(tenant, index)
    }

    /// Past communications of a customer, oldest first.
    pub(crate) fn customer_communications(&self, tenant: usize, customer: u64) -> Vec<u64> {
        self.0.states[tenant].slots.communications(customer, self.tenants()[tenant].past_communications)
    }

    /// Identifier of past communication `index`.
    pub(crate) fn past_communication_id(&self, tenant: usize, index: u64) -> Uuid {
        self.id(Era::Past.communications(), tenant, index)
    }

    /// Number of a tenant's events in an era.
    pub(crate) fn event_count(&self, era: Era, tenant: usize) -> u64 {
        self.0.states[tenant].events(era).total()
    }

    /// Sequence number of a communication's first event within its tenant; the past comes first.
    pub(crate) fn first_seq(&self, era: Era, tenant: usize, index: u64) -> u64 {
        let base = if era == Era::Drive { self.event_count(Era::Past, tenant) } else { 0 };
        base + self.0.states[tenant].events(era).before(index as usize)
    }

    /// The agent that reports metric `index`.
    pub(crate) fn metric_agent(&self, tenant: usize, index: u64) -> u64 {
        index / tenants::METRICS % self.tenants()[tenant].agents
    }

    /// Time at which metric `index` is reported, in milliseconds since the start of its era. Agents report in turn
    /// within an interval.
    pub(crate) fn metric_millis(&self, tenant: usize, index: u64) -> u64 {
        let (agents, interval) = (self.tenants()[tenant].agents, self.0.metric_interval_ms);
        let tick = index / (tenants::METRICS * agents);
        tick * interval + self.metric_agent(tenant, index) * interval / agents
    }

    fn rng(&self, domain: &str, tenant: usize, index: u64) -> KeyedRng {
        KeyedRng::new(self.0.seed, domain, [tenant as u64, index])
    }

    fn id(&self, domain: &str, tenant: usize, index: u64) -> Uuid {
        self.rng(domain, tenant, index).uuid()
    }
}

impl Inner {
    fn period(&self, era: Era) -> &Period {
        match era {
            Era::Past => &self.past,
            Era::Drive => &self.drive,
        }
    }

    fn traits(&self, tenant: usize, index: u64) -> Traits {
        Traits::draw(&mut KeyedRng::new(self.seed, "customers", [tenant as u64, index]), self.tenants[tenant].region)
    }

    fn lifecycle(&self, era: Era, tenant: usize, index: u64) -> Lifecycle {
        let (owner, state) = (&self.tenants[tenant], &self.states[tenant]);
        let mut rng = KeyedRng::new(self.seed, era.lifecycles(), [tenant as u64, index]);
        let customer = state.slots.customer(index);
        let inputs = LifecycleInputs {
            customer,
            language: self.traits(tenant, customer).language,
            campaigns: owner.campaigns,
            agents: owner.agents,
            created: state.curve(era).millis(index, owner.communications_in(era), rng.next() as u32),
            end: self.period(era).millis,
        };
        Lifecycle::new(&mut rng, &inputs)
    }

    fn count_events(&self, era: Era, tenant: usize) -> EventCounts {
        let communications = 0..self.tenants[tenant].communications_in(era);
        communications.map(|index| self.lifecycle(era, tenant, index).steps().len()).collect()
    }
}

#[cfg(test)]
mod tests;
