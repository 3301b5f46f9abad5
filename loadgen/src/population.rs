//! The population: tenants, customers, campaigns, agents and the past, each a pure function of (seed, tenant, index).
//! Records are computed on demand, in any order and on any thread. It never stores records: only the tenants' sizes,
//! their daily curves, and a byte or two per communication for the sequence numbers of its events.
//!
//! # Layout: each module imports only modules above it
//! - `rng`, `affine`: keyed random numbers, and permutations without a table
//! - `parameters`, `era`, [`calendar`]: the inputs, the two periods, and when in a period records occur
//! - `tenants`: the tenants
//! - `names`, `phrases`, `zipf`, `vocabulary`, `texts`, `search_words`: the texts of messages, and the words to search for
//! - `escalation`, `schedule`, `slots`: the rules of campaigns, which communication is which message of a case, and whose
//! - `tenant_state`: what is stored per tenant
//! - `lifecycle`: the events of a communication
//! - `people`, `records`, `state`: customers, campaigns and agents; the records of a lifecycle; sessions

mod affine;
pub mod calendar;
mod era;
mod escalation;
pub(crate) mod lifecycle;
mod names;
mod parameters;
mod people;
pub(crate) mod phrases;
mod records;
pub(crate) mod rng;
mod schedule;
pub(crate) mod search_words;
mod slots;
mod state;
mod tenant_state;
mod tenants;
pub(crate) mod texts;
mod vocabulary;
mod zipf;

use std::{ops::Range, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sluice_schemas::records::{
    AgentMetric, Campaign, Communication, CommunicationEvent, Customer, CustomerInteraction,
};
use uuid::Uuid;

use calendar::Period;
use lifecycle::{CaseMessage, Lifecycle, LifecycleInputs};
use rng::KeyedRng;
use schedule::{Case, Message};
use tenant_state::{EventCounts, TenantState};

pub use parameters::Parameters;
pub use people::Agent;
pub use tenants::{Tenant, TenantClass};

pub(crate) use era::Era;
pub(crate) use people::{PORTFOLIOS, RISKS, Traits};
pub(crate) use state::AGENT_STEPS;
pub(crate) use tenants::METRIC_NAMES;

/// Number of customers of each tenant, without preparing the population.
pub fn customers_of_tenants(parameters: &Parameters) -> Vec<u64> {
    tenants::customers(parameters)
}

/// Number of agent metrics before the drive and in it, of all tenants.
pub(crate) fn metrics_of_tenants(parameters: &Parameters) -> (u64, u64) {
    let tenants = tenants::generate(parameters);
    let sum = |count: fn(&Tenant) -> u64| tenants.iter().map(count).fold(0, u64::saturating_add);
    (sum(|tenant| tenant.past_metrics), sum(|tenant| tenant.driven_metrics))
}

/// A population; cheap to clone.
#[derive(Debug, Clone)]
pub struct Population(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    seed: u64,
    /// Seed of the records of the drive; for the first trial it is `seed`.
    drive_seed: u64,
    /// Number of the trial that is driven, from 0.
    trial: u32,
    metric_interval_ms: u64,
    past: Period,
    drive: Period,
    tenants: Vec<Tenant>,
    states: Vec<TenantState>,
}

impl Population {
    /// Prepares a population: counts the events of every communication once.
    pub fn new(parameters: impl Into<Parameters>) -> Self {
        let mut inner = Inner::uncounted(&parameters.into());
        inner.count_all_events(&[Era::Past, Era::Drive]);
        Self(Arc::new(inner))
    }

    /// A population whose events are not counted, so that it takes no time for each communication: it is as if none had any, and
    /// the events of a communication have no place among the others.
    pub(crate) fn uncounted(parameters: impl Into<Parameters>) -> Self {
        Self(Arc::new(Inner::uncounted(&parameters.into())))
    }

    /// The population of a later trial: the same past, followed by another drive of the same length. Its period is as many
    /// lengths later as the trial's number, and it continues no case, so no trial has a record of another one. `parameters`
    /// may differ from those of the first trial in the number of driven communications.
    pub(crate) fn of_trial(&self, number: u32, parameters: impl Into<Parameters>) -> Self {
        let (first, parameters) = (&*self.0, parameters.into());
        let start = parameters.start + parameters.span * number;
        let drive = Period { start, millis: millis(parameters.span) };
        let drive_seed = trial_seed(first.seed, number);
        let driven = tenants::generate(&parameters);
        let tenant = |(tenant, driven): (&Tenant, Tenant)| Tenant {
            driven_communications: driven.driven_communications,
            driven_metrics: driven.driven_metrics,
            ..tenant.clone()
        };
        let tenants: Vec<Tenant> = first.tenants.iter().zip(driven).map(tenant).collect();
        let states = first.states.iter().zip(&tenants);
        let states = states.map(|(state, tenant)| state.of_trial(number, tenant, drive_seed, &drive)).collect();
        let Inner { seed, metric_interval_ms, past, .. } = *first;
        let mut inner = Inner { seed, drive_seed, trial: number, metric_interval_ms, past, drive, tenants, states };
        inner.count_all_events(&[Era::Drive]);
        Self(Arc::new(inner))
    }

    /// Number of the trial that is driven, from 0.
    pub fn trial(&self) -> u32 {
        self.0.trial
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
        let id = self.customer_id(tenant, index);
        let customer = people::customer(owner, index, id, &traits, &mut rng, self.0.past.start);
        Customer { is_active: self.is_active(tenant, index), ..customer }
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

    /// Whether a customer is active. An inactive one is never contacted.
    pub(crate) fn is_active(&self, tenant: usize, customer: u64) -> bool {
        self.0.states[tenant].is_active(customer)
    }

    /// Communications of a customer in an era, oldest first.
    pub(crate) fn customer_communications(&self, era: Era, tenant: usize, customer: u64) -> Vec<u64> {
        self.0.states[tenant].of_customer(era, customer)
    }

    /// The customer of communication `index` of an era.
    pub(crate) fn recipient(&self, era: Era, tenant: usize, index: u64) -> u64 {
        let state = &self.0.states[tenant];
        state.customer(&state.message(era, index))
    }

    /// When past communication `index` was created.
    pub(crate) fn past_created(&self, tenant: usize, index: u64) -> DateTime<Utc> {
        self.0.past.at(self.0.states[tenant].created(Era::Past, index).0)
    }

    /// First past communication that was created at or after an instant.
    pub(crate) fn first_past_at(&self, tenant: usize, instant: DateTime<Utc>) -> u64 {
        let millis = (instant - self.0.past.start).num_milliseconds().max(0).cast_unsigned();
        self.0.states[tenant].first_at(Era::Past, millis)
    }

    /// Identifier of past communication `index`.
    pub(crate) fn past_communication_id(&self, tenant: usize, index: u64) -> Uuid {
        self.communication_id(Era::Past, tenant, index)
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

    /// The stream of a record of an era.
    fn era_rng(&self, era: Era, domain: &str, tenant: usize, index: u64) -> KeyedRng {
        let seed = if era == Era::Drive { self.0.drive_seed } else { self.0.seed };
        KeyedRng::new(seed, domain, [tenant as u64, index])
    }

    fn id(&self, domain: &str, tenant: usize, index: u64) -> Uuid {
        self.rng(domain, tenant, index).uuid()
    }

    /// Identifier of communication `index` of an era.
    fn communication_id(&self, era: Era, tenant: usize, index: u64) -> Uuid {
        self.era_rng(era, era.communications(), tenant, index).uuid()
    }
}

impl Inner {
    /// Everything but the counts of events.
    fn uncounted(parameters: &Parameters) -> Self {
        let past_start = parameters.start - parameters.history_span;
        let past = Period { start: past_start, millis: millis(parameters.history_span) };
        let drive = Period { start: parameters.start, millis: millis(parameters.span) };
        let tenants = tenants::generate(parameters);
        let state = |tenant: &Tenant| TenantState::new(tenant, parameters.seed, &past, &drive);
        let states = tenants.iter().map(state).collect();
        let metric_interval_ms = millis(parameters.metric_interval);
        let (seed, drive_seed) = (parameters.seed, parameters.seed);
        Self { seed, drive_seed, trial: 0, metric_interval_ms, past, drive, states, tenants }
    }

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
        let state = &self.states[tenant];
        let message = state.message(era, index);
        let customer = state.customer(&message);
        let language = self.traits(tenant, customer).language;
        let case = match message {
            Message::Step { case, step } => {
                let created = self.millis(era, state.created(era, index).0);
                let sent = self.case_message(tenant, &case, step);
                Some(sent).filter(|sent| !self.has_stopped(era, tenant, &case, sent, created))
            }
            Message::Single(_) => None,
        };
        self.draw(era, tenant, index, (customer, language, case))
    }

    /// Draws the lifecycle of a communication to a customer in a language.
    fn draw(
        &self,
        era: Era,
        tenant: usize,
        index: u64,
        (customer, language, case): (u64, usize, Option<CaseMessage>),
    ) -> Lifecycle {
        let (created, mut rng) = self.states[tenant].created(era, index);
        let (agents, end) = (self.tenants[tenant].agents, self.period(era).millis);
        Lifecycle::new(&mut rng, &LifecycleInputs { customer, language, case, agents, created, end })
    }

    /// Message `step` of a case. Campaign, agent and amount are those of the case.
    fn case_message(&self, tenant: usize, case: &Case, step: usize) -> CaseMessage {
        let owner = &self.tenants[tenant];
        let mut rng = KeyedRng::new(self.seed, "cases", [tenant as u64, case.number]);
        let speeds = escalation::speeds(owner.campaigns);
        let campaigns = (owner.campaigns - case.speed).div_ceil(speeds);
        // The smaller of two draws: early campaigns are large.
        let campaign = rng.below(campaigns).min(rng.below(campaigns)) * speeds + case.speed;
        let (channel, kind) = escalation::message(campaign, owner.campaigns, step);
        let (agent, amount_minor) = (rng.below(owner.agents), lifecycle::amount_minor(&mut rng));
        CaseMessage { case: case.number, campaign, step, channel, kind, agent, amount_minor }
    }

    /// Whether the customer promised or paid in answer to an earlier message of the case, before an instant: milliseconds
    /// since the start of the past. `era` is that of the message.
    fn has_stopped(&self, era: Era, tenant: usize, case: &Case, message: &CaseMessage, instant: u64) -> bool {
        let (state, campaigns) = (&self.states[tenant], self.tenants[tenant].campaigns);
        let stops = |step| {
            let (channel, kind) = escalation::message(message.campaign, campaigns, step);
            let earlier = CaseMessage { step, channel, kind, ..*message };
            let (era, index) = state.step_index(era, case, step)?;
            // It was sent: if the messages before it had stopped the case by then, this one would not be looked at.
            let lifecycle = self.draw(era, tenant, index, (0, 0, Some(earlier)));
            lifecycle.stops_at().map(|millis| self.millis(era, millis))
        };
        (0..message.step).filter_map(stops).any(|millis| millis <= instant)
    }

    /// Milliseconds since the start of the past.
    fn millis(&self, era: Era, millis: u64) -> u64 {
        if era == Era::Drive { self.past.millis + millis } else { millis }
    }

    fn count_all_events(&mut self, eras: &[Era]) {
        for tenant in 0..self.tenants.len() {
            for &era in eras {
                let counts = self.count_events(era, tenant);
                self.states[tenant].set_events(era, counts);
            }
        }
    }

    fn count_events(&self, era: Era, tenant: usize) -> EventCounts {
        let communications = 0..self.tenants[tenant].communications_in(era);
        communications.map(|index| self.lifecycle(era, tenant, index).steps().len()).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// A seed of a trial of its own; that of the first one is `seed` itself.
pub(crate) fn trial_seed(seed: u64, number: u32) -> u64 {
    if number == 0 { seed } else { KeyedRng::new(seed, "trial", [u64::from(number), 0]).next() }
}

#[cfg(test)]
mod tests;
