//! Who exists: tenants, customers, campaigns, agents and the past, each a pure function of (seed, tenant, index).
//! A scenario goes in; records come out in any order, on any thread and as often as wanted. Keeps no records: only the
//! tenants' sizes, the curves of their days, and a byte or two for each communication to know the place of its events.

pub mod calendar;
mod era;
pub(crate) mod lifecycle;
mod parameters;
mod people;
mod records;
pub(crate) mod rng;
mod slots;
mod tenants;
pub(crate) mod words;

use std::{ops::Range, sync::Arc};

use chrono::{DateTime, Utc};
use sluice_schemas::records::{
    AgentMetric, Campaign, Communication, CommunicationEvent, Customer, CustomerInteraction,
};
use uuid::Uuid;

use calendar::{Curve, Period};
use lifecycle::{Fate, Setting};
use rng::Draw;
use slots::Slots;

pub use parameters::Parameters;
pub use people::Agent;
pub use tenants::Tenant;

pub(crate) use era::Era;
pub(crate) use people::{PORTFOLIOS, RISKS, Traits};
pub(crate) use tenants::METRIC_NAMES;

/// Communications between two running counts of events.
const STRIDE: usize = 16;

/// Everyone. A clone shares what is inside.
#[derive(Debug, Clone)]
pub struct Population(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: u64,
    metric_interval_ms: u64,
    past: Period,
    drive: Period,
    tenants: Vec<Tenant>,
    yards: Vec<Yard>,
}

/// What is worked out once for a tenant.
#[derive(Debug)]
struct Yard {
    slots: Slots,
    past: Curve,
    drive: Curve,
    past_events: EventCounts,
    drive_events: EventCounts,
}

/// How many events there are before each communication of a tenant.
#[derive(Debug, Default)]
struct EventCounts {
    /// Before communications 0, 16, 32 and so on.
    running: Vec<u64>,
    /// Of each communication.
    own: Vec<u8>,
    all: u64,
}

impl EventCounts {
    fn push(&mut self, events: usize) {
        if self.own.len().is_multiple_of(STRIDE) {
            self.running.push(self.all);
        }
        self.own.push(events as u8);
        self.all += events as u64;
    }

    fn before(&self, index: usize) -> u64 {
        let start = index / STRIDE * STRIDE;
        self.running[index / STRIDE] + self.own[start..index].iter().map(|&own| u64::from(own)).sum::<u64>()
    }
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
        let yards = tenants.iter().map(|tenant| Yard {
            slots: Slots::new(tenant.customers, parameters.seed),
            past: Curve::new(tenant.region, &past),
            drive: Curve::new(tenant.region, &drive),
            past_events: EventCounts::default(),
            drive_events: EventCounts::default(),
        });
        let metric_interval_ms = millis(parameters.metric_interval);
        let mut inner =
            Inner { seed: parameters.seed, metric_interval_ms, past, drive, yards: yards.collect(), tenants };
        for tenant in 0..inner.tenants.len() {
            let (past, drive) = (inner.count_events(Era::Past, tenant), inner.count_events(Era::Drive, tenant));
            inner.yards[tenant].past_events = past;
            inner.yards[tenant].drive_events = drive;
        }
        Self(Arc::new(inner))
    }

    /// All tenants, largest first.
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
        let mut draw = self.draw("customers", tenant, index);
        let traits = Traits::draw(&mut draw, owner.region);
        people::customer(owner, index, self.customer_id(tenant, index), &traits, &mut draw, self.0.past.start)
    }

    /// Identity of customer `index`.
    pub fn customer_id(&self, tenant: usize, index: u64) -> Uuid {
        self.id("customer ids", tenant, index)
    }

    /// Campaign `index` of a tenant, `0..tenant.campaigns`.
    pub fn campaign(&self, tenant: usize, index: u64) -> Campaign {
        let id = self.campaign_id(tenant, index);
        let mut draw = self.draw("campaigns", tenant, index);
        people::campaign(&self.tenants()[tenant], index, id, &mut draw, self.0.past.start)
    }

    /// Identity of campaign `index`.
    pub fn campaign_id(&self, tenant: usize, index: u64) -> Uuid {
        self.id("campaign ids", tenant, index)
    }

    /// Agent `index` of a tenant, `0..tenant.agents`.
    pub fn agent(&self, tenant: usize, index: u64) -> Agent {
        people::agent(tenant, index)
    }

    /// Past communication `index` of a tenant, `0..tenant.history`, in order of `created_at`.
    pub fn history(&self, tenant: usize, index: u64) -> Communication {
        self.communication_of(Era::Past, tenant, index, &self.fate(Era::Past, tenant, index))
    }

    /// Events of past communication `index`, in order, all before the drive.
    pub fn history_events(&self, tenant: usize, index: u64) -> Vec<CommunicationEvent> {
        let fate = self.fate(Era::Past, tenant, index);
        (0..fate.steps().len()).map(|step| self.event_of(Era::Past, tenant, index, &fate, step)).collect()
    }

    /// Interactions of past communication `index`, in order, all before the drive.
    pub fn history_interactions(&self, tenant: usize, index: u64) -> Vec<CustomerInteraction> {
        let fate = self.fate(Era::Past, tenant, index);
        (0..fate.steps().len()).filter_map(|step| self.interaction_of(Era::Past, tenant, index, &fate, step)).collect()
    }

    /// Past agent metric `index`, `0..tenant.history_metrics`, in order of time.
    pub fn history_metric(&self, tenant: usize, index: u64) -> AgentMetric {
        self.metric_of(Era::Past, tenant, index)
    }

    pub(crate) fn period(&self, era: Era) -> &Period {
        self.0.period(era)
    }

    pub(crate) fn fate(&self, era: Era, tenant: usize, index: u64) -> Fate {
        self.0.fate(era, tenant, index)
    }

    pub(crate) fn traits(&self, tenant: usize, index: u64) -> Traits {
        self.0.traits(tenant, index)
    }

    /// Past communications of a customer, oldest first.
    pub(crate) fn customer_history(&self, tenant: usize, customer: u64) -> Vec<u64> {
        self.0.yards[tenant].slots.communications(customer, self.tenants()[tenant].history)
    }

    /// Identity of past communication `index`.
    pub(crate) fn history_id(&self, tenant: usize, index: u64) -> Uuid {
        self.id(Era::Past.communications(), tenant, index)
    }

    /// Events of a tenant in an era.
    pub(crate) fn events(&self, era: Era, tenant: usize) -> u64 {
        self.0.event_counts(era, tenant).all
    }

    /// Place of the first event of a communication in its tenant's sequence; the past comes first.
    pub(crate) fn first_seq(&self, era: Era, tenant: usize, index: u64) -> u64 {
        let base = if era == Era::Drive { self.events(Era::Past, tenant) } else { 0 };
        base + self.0.event_counts(era, tenant).before(index as usize)
    }

    /// The agent that reports metric `index`.
    pub(crate) fn metric_agent(&self, tenant: usize, index: u64) -> u64 {
        index / tenants::METRICS % self.tenants()[tenant].agents
    }

    /// When metric `index` is reported, in milliseconds since the start of its era; agents take turns in an interval.
    pub(crate) fn metric_millis(&self, tenant: usize, index: u64) -> u64 {
        let (agents, interval) = (self.tenants()[tenant].agents, self.0.metric_interval_ms);
        let tick = index / (tenants::METRICS * agents);
        tick * interval + self.metric_agent(tenant, index) * interval / agents
    }

    fn draw(&self, domain: &str, tenant: usize, index: u64) -> Draw {
        Draw::new(self.0.seed, domain, [tenant as u64, index])
    }

    fn id(&self, domain: &str, tenant: usize, index: u64) -> Uuid {
        self.draw(domain, tenant, index).uuid()
    }
}

impl Inner {
    fn period(&self, era: Era) -> &Period {
        match era {
            Era::Past => &self.past,
            Era::Drive => &self.drive,
        }
    }

    fn event_counts(&self, era: Era, tenant: usize) -> &EventCounts {
        match era {
            Era::Past => &self.yards[tenant].past_events,
            Era::Drive => &self.yards[tenant].drive_events,
        }
    }

    fn traits(&self, tenant: usize, index: u64) -> Traits {
        Traits::draw(&mut Draw::new(self.seed, "customers", [tenant as u64, index]), self.tenants[tenant].region)
    }

    fn fate(&self, era: Era, tenant: usize, index: u64) -> Fate {
        let (owner, yard) = (&self.tenants[tenant], &self.yards[tenant]);
        let (curve, count) = match era {
            Era::Past => (&yard.past, owner.history),
            Era::Drive => (&yard.drive, owner.communications),
        };
        let mut draw = Draw::new(self.seed, era.lifecycles(), [tenant as u64, index]);
        let customer = yard.slots.customer(index);
        let setting = Setting {
            customer,
            language: self.traits(tenant, customer).language,
            campaigns: owner.campaigns,
            agents: owner.agents,
            created: curve.millis(index, count, draw.next() as u32),
            end: self.period(era).millis,
        };
        Fate::new(&mut draw, &setting)
    }

    fn count_events(&self, era: Era, tenant: usize) -> EventCounts {
        let owner = &self.tenants[tenant];
        let count = if era == Era::Past { owner.history } else { owner.communications };
        let mut counts = EventCounts::default();
        for index in 0..count {
            counts.push(self.fate(era, tenant, index).steps().len());
        }
        counts
    }
}

#[cfg(test)]
mod tests;
