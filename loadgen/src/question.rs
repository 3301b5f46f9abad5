//! The questions that probes ask. Each has a file in this folder with its name, its text, its key and its expected
//! answer. No schedule is decided here, and nothing is measured.
//!
//! # Layout
//! - one question each: `lookup_by_id`, `lookup_by_email`, [`lookup_cached`], `timeline`, `campaign_status`,
//!   `profile_contains`, `content_contains`, `search`, [`session`], `agent_state`, `agent_queue`,
//!   `rate_limit`, `cached_profiles`, `recent_search`,
//!   `metric_range`, `dashboard_events`, `dashboard_agents`,
//!   `dashboard_interactions`, `dashboard_campaigns`; about what the drive writes: `live_timeline`, `live_dashboard`
//! - `definition`: what a question consists of; `store`: the store that answers
//! - [`custom`]: questions of a scenario's own, which have no file here
//! - [`key`](Key): what is drawn for each request; `subject`: the tenant and the key of a request; `customer`: a
//!   customer as a row
//! - `tally`: what is counted over the past; [`oracle`]: the expected answers; `answer`: answers, to compare; `timing`: mean and percentile of
//!   durations
//!
//! To add a question: add its file, its variant of [`Question`] with its place in [`Question::ALL`] and in
//! `definition()`, a variant of [`Answer`] if none fits, and its text in `docs/scenarios.md`, which a test compares.

mod agent_queue;
mod agent_state;
mod answer;
pub(crate) mod cached_profiles;
mod campaign_status;
mod content_contains;
pub mod custom;
mod customer;
mod dashboard_agents;
mod dashboard_campaigns;
mod dashboard_events;
mod dashboard_interactions;
mod definition;
mod key;
mod live_dashboard;
mod live_timeline;
mod lookup_by_email;
mod lookup_by_id;
pub mod lookup_cached;
pub(crate) mod metric_range;
pub(crate) mod oracle;
mod profile_contains;
mod rate_limit;
pub(crate) mod recent_search;
mod search;
pub mod session;
mod store;
mod subject;
mod tally;
mod timeline;
mod timing;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::Targets;
use definition::{Definition, Reply};

pub(crate) use answer::{Answer, LiveGroup, TimelineEntry};
pub use custom::Custom;
pub use key::{Key, Window};
pub use store::Store;
pub(crate) use subject::Subject;

/// A question that probes ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A customer by its identifier.
    LookupById,
    /// A customer by its email address.
    LookupByEmail,
    /// A customer's context, read through the cache.
    LookupCached,
    /// A signed-in user's session.
    Session,
    /// An agent's state, replaced and read.
    AgentState,
    /// A message to an agent, sent and received.
    AgentQueue,
    /// Whether one more message may be sent.
    RateLimit,
    /// Cached customers of a portfolio and a risk class.
    CachedProfiles,
    /// A word in recent communications, newest first.
    RecentSearch,
    /// A metric by hour.
    MetricRange,
    /// A customer's newest communications.
    Timeline,
    /// A campaign's communications by status.
    CampaignStatus,
    /// Customers whose profile contains a JSON document.
    ProfileContains,
    /// Communications whose content contains a JSON document.
    ContentContains,
    /// Full text, filtered by tenant, channel, language and time.
    Search,
    /// Events of a window by channel and type.
    DashboardEvents,
    /// Agent metrics of a window: count and sum of each.
    DashboardAgents,
    /// Interactions of a window: count and money of each type.
    DashboardInteractions,
    /// Events and successes of each campaign of a tenant.
    DashboardCampaigns,
    /// A customer's newest communications, with those that the drive writes.
    LiveTimeline,
    /// Events of the day before the drive and of the drive so far, by channel and type.
    LiveDashboard,
    /// A question of the scenario's own.
    #[serde(untagged)]
    Custom(Custom),
}

impl Question {
    /// Every question of Sluice's own, in the order of the enum and of reports.
    pub const ALL: &'static [Self] = &[
        Self::LookupById,
        Self::LookupByEmail,
        Self::LookupCached,
        Self::Session,
        Self::AgentState,
        Self::AgentQueue,
        Self::RateLimit,
        Self::CachedProfiles,
        Self::RecentSearch,
        Self::MetricRange,
        Self::Timeline,
        Self::CampaignStatus,
        Self::ProfileContains,
        Self::ContentContains,
        Self::Search,
        Self::DashboardEvents,
        Self::DashboardAgents,
        Self::DashboardInteractions,
        Self::DashboardCampaigns,
        Self::LiveTimeline,
        Self::LiveDashboard,
    ];

    /// The question's file; a question of a scenario's own has none.
    fn definition(self) -> Result<&'static dyn Definition, Custom> {
        Ok(match self {
            Self::Custom(custom) => return Err(custom),
            Self::LookupById => &lookup_by_id::LookupById,
            Self::LookupByEmail => &lookup_by_email::LookupByEmail,
            Self::LookupCached => &lookup_cached::LookupCached,
            Self::Session => &session::Session,
            Self::AgentState => &agent_state::AgentState,
            Self::AgentQueue => &agent_queue::AgentQueue,
            Self::RateLimit => &rate_limit::RateLimit,
            Self::CachedProfiles => &cached_profiles::CachedProfiles,
            Self::RecentSearch => &recent_search::RecentSearch,
            Self::MetricRange => &metric_range::MetricRange,
            Self::Timeline => &timeline::Timeline,
            Self::CampaignStatus => &campaign_status::CampaignStatus,
            Self::ProfileContains => &profile_contains::ProfileContains,
            Self::ContentContains => &content_contains::ContentContains,
            Self::Search => &search::Search,
            Self::DashboardEvents => &dashboard_events::DashboardEvents,
            Self::DashboardAgents => &dashboard_agents::DashboardAgents,
            Self::DashboardInteractions => &dashboard_interactions::DashboardInteractions,
            Self::DashboardCampaigns => &dashboard_campaigns::DashboardCampaigns,
            Self::LiveTimeline => &live_timeline::LiveTimeline,
            Self::LiveDashboard => &live_dashboard::LiveDashboard,
        })
    }

    /// The number of its random stream and of its part of a plan. That of a scenario's own follows from its name.
    pub(crate) fn stream(self) -> u64 {
        let named = || xxhash_rust::xxh64::xxh64(self.as_str().as_bytes(), 0) | 1 << 63;
        self.place().map_or_else(named, |place| place as u64)
    }

    /// Its place in [`Question::ALL`]; `None` for a question of a scenario's own.
    pub(crate) fn place(self) -> Option<usize> {
        Self::ALL.iter().position(|&question| question == self)
    }

    /// The name in scenarios and reports.
    pub fn as_str(self) -> &'static str {
        self.definition().map_or_else(Custom::name, Definition::name)
    }

    /// The store that answers.
    pub fn store(self) -> Store {
        self.definition().map_or_else(Custom::store, Definition::store)
    }

    /// Whether only a run that writes can ask it: asking it may change what the store holds, or it is about what the drive writes.
    /// A question of a scenario's own never does, nor is it.
    pub fn needs_writes(self) -> bool {
        self.definition().is_ok_and(Definition::writes) || self.is_live()
    }

    /// Whether it is about what the drive writes, so that its right answer has bounds.
    pub fn is_live(self) -> bool {
        self.definition().is_ok_and(Definition::is_live)
    }

    /// The store that is asked if the question's own does not hold the answer.
    pub fn backing_store(self) -> Option<Store> {
        self.definition().ok()?.backing_store()
    }

    /// The question of Sluice's own of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|question| question.as_str() == name)
    }

    /// The exact texts that are sent, as `docs/scenarios.md` quotes them.
    pub fn texts(self) -> &'static [&'static str] {
        self.definition().map_or(&[], Definition::texts)
    }

    /// How long the cached values last that the load writes and the question expects.
    pub(crate) fn cached_for(self) -> Option<Duration> {
        self.definition().ok()?.cached_for()
    }

    /// Draws a key for a tenant.
    pub(crate) fn draw_key(self, population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        match self.definition() {
            Ok(definition) => definition.draw_key(population, tenant, rng),
            Err(_) => Key::Draw(rng.next()),
        }
    }

    /// Sends the question about a subject and reads the store's reply; a question of a scenario's own can't be asked like this.
    pub(crate) fn ask<'a>(self, targets: &'a Targets, subject: Subject<'a>) -> Result<Reply<'a>, Custom> {
        Ok(self.definition()?.ask(targets, subject))
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod corrupted;
#[cfg(test)]
mod tests;
