//! The keys that questions are asked about, and the draws that several questions share.
//! Every window is in the loaded past, so the drive never changes an expected answer; that of a live question is not.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sluice_schemas::records::Channel;

use crate::population::{Population, Tenant, rng::KeyedRng};

/// What a question is asked about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Key {
    /// Index of a customer.
    Customer(u64),
    /// Index of an agent.
    Agent(u64),
    /// Index of an agent, and a step of its work.
    AgentStep {
        /// Index of the agent.
        agent: u64,
        /// The step.
        step: u64,
    },
    /// A channel.
    Channel(Channel),
    /// Index of a campaign.
    Campaign(u64),
    /// The document that `profile_data` must contain.
    Profile(serde_json::Value),
    /// The document that `content` must contain.
    Content(serde_json::Value),
    /// Full text.
    Search {
        /// A word of the body.
        word: &'static str,
        /// Language, ISO 639-1.
        language: &'static str,
        /// Channel.
        channel: Channel,
        /// First instant of `created_at`.
        from: DateTime<Utc>,
        /// One past the last instant of `created_at`.
        to: DateTime<Utc>,
    },
    /// A window of a time series.
    Series {
        /// Index of the metric's name.
        metric: usize,
        /// The window: whole hours.
        window: Window,
    },
    /// A window of a dashboard.
    Window(Window),
    /// Chooses the values of a question of a scenario's own.
    Draw(u64),
}

/// A half-open interval of the loaded past: of whole days, unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Window {
    /// First instant.
    pub from: DateTime<Utc>,
    /// One past the last instant.
    pub to: DateTime<Utc>,
}

impl Key {
    /// Draws a customer: four of five lookups go to a fifth of the customers, so that the cache is hit.
    pub(super) fn draw_customer(tenant: &Tenant, rng: &mut KeyedRng) -> Self {
        let hot = (tenant.customers / 5).max(1);
        Self::Customer(if rng.chance(0.8) { rng.below(hot) } else { rng.below(tenant.customers) })
    }
}

impl Window {
    /// The last day, week or whole past, or one of the earlier days.
    pub(super) fn draw(population: &Population, rng: &mut KeyedRng) -> Self {
        let past = population.past();
        let days = (past.end - past.start).num_days();
        let length = rng.pick(&[1, 7, days]).min(days);
        let ago = if length == 1 { rng.below(days.cast_unsigned()).cast_signed() } else { 0 };
        let to = past.end - TimeDelta::days(ago);
        Self { from: to - TimeDelta::days(length), to }
    }
}
