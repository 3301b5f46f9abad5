//! One question's subject: the tenant that asks and the key it asks about, resolved against the population.
//! It never reads a store.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sluice_schemas::records::Customer;
use uuid::Uuid;

use super::key::{Key, Window};
use crate::population::Population;

/// The tenant that asks, and the key that it asks about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The population.
    pub(crate) population: &'a Population,
    /// Index of the tenant.
    pub(crate) tenant: usize,
    /// The key; a question sees only keys that it drew itself.
    pub(crate) key: &'a Key,
}

impl Subject<'_> {
    /// The tenant's identifier.
    pub(super) fn tenant_id(&self) -> Uuid {
        self.population.tenants()[self.tenant].id
    }

    /// What is asked about, for a log: identifiers, words and times of the population, which is nobody's; empty for a question of a
    /// scenario's own.
    pub(crate) fn name(&self) -> String {
        match self.key {
            Key::Customer(index) => format!("customer {}", self.population.customer_id(self.tenant, *index)),
            Key::Agent(agent) | Key::AgentStep { agent, .. } => {
                format!("agent {}", self.population.agent(self.tenant, *agent).id)
            }
            Key::Channel(channel) => format!("channel {}", channel.as_str()),
            Key::Campaign(index) => format!("campaign {}", self.population.campaign_id(self.tenant, *index)),
            Key::Profile(document) | Key::Content(document) => document.to_string(),
            Key::Search { word, language, channel, from, to } => {
                format!("{word} in {language}, {}, from {from} to {to}", channel.as_str())
            }
            Key::Series { window, .. } | Key::Window(window) => format!("from {} to {}", window.from, window.to),
            Key::Draw(_) => String::new(),
        }
    }

    /// End of the loaded past. Questions exclude what the drive writes after it.
    pub(super) fn before(&self) -> DateTime<Utc> {
        self.population.past().end
    }

    /// First instant of what a live question is about: of the past, or of the drive of a later trial, which other trials'
    /// records precede.
    pub(super) fn live_since(&self) -> DateTime<Utc> {
        if self.population.trial() == 0 { self.population.past().start } else { self.population.driven_period().start }
    }

    /// Index of the customer.
    pub(super) fn customer_index(&self) -> u64 {
        match self.key {
            Key::Customer(index) => *index,
            other => reject(other),
        }
    }

    /// The customer.
    pub(super) fn customer(&self) -> Customer {
        self.population.customer(self.tenant, self.customer_index())
    }

    /// The customer's identifier.
    pub(super) fn customer_id(&self) -> Uuid {
        self.population.customer_id(self.tenant, self.customer_index())
    }

    /// Index of the agent.
    pub(super) fn agent_index(&self) -> u64 {
        match self.key {
            Key::Agent(index) => *index,
            other => reject(other),
        }
    }

    /// Index of the agent, and the step of its work.
    pub(super) fn agent_step(&self) -> (u64, u64) {
        match self.key {
            Key::AgentStep { agent, step } => (*agent, *step),
            other => reject(other),
        }
    }

    /// The agent's identifier.
    pub(super) fn agent_id(&self) -> String {
        self.population.agent(self.tenant, self.agent_index()).id
    }

    /// The campaign's identifier.
    pub(super) fn campaign_id(&self) -> Uuid {
        match self.key {
            Key::Campaign(index) => self.population.campaign_id(self.tenant, *index),
            other => reject(other),
        }
    }

    /// The JSON document that rows must contain.
    pub(super) fn document(&self) -> &Value {
        match self.key {
            Key::Profile(document) | Key::Content(document) => document,
            other => reject(other),
        }
    }

    /// The window.
    pub(super) fn window(&self) -> Window {
        match self.key {
            Key::Window(window) => *window,
            Key::Search { from, to, .. } => Window { from: *from, to: *to },
            other => reject(other),
        }
    }

    /// The days of the past that the window covers; windows are whole days.
    pub(super) fn days(&self) -> Range<usize> {
        let start = self.population.past().start;
        let day = |instant: DateTime<Utc>| (instant - start).num_days().max(0) as usize;
        let Window { from, to } = self.window();
        day(from)..day(to)
    }
}

/// Panics: the plan draws the key of each question with that question, so no other key arrives here.
pub(super) fn reject(key: &Key) -> ! {
    unreachable!("a question received a key that it did not draw: {key:?}")
}
