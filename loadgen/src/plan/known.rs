//! The right answer to each probe, counted once over the loaded past.

use sluice_schemas::records::{Channel, EventType, InteractionType};
use uuid::Uuid;

use super::{Plan, Probe};

/// The right answer to a probe.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// The lookups: this customer.
    Customer {
        /// Its identity.
        id: Uuid,
        /// Its address.
        email: String,
    },
    /// `timeline`: communications before the start, newest first; the first `Known::TIMELINE` of them.
    Timeline(Vec<Uuid>),
    /// `campaign_status`: communications before the start by status, without zeros, in order of status.
    Statuses(Vec<(EventType, u64)>),
    /// `profile_contains` and `content_contains`: how many rows match.
    Rows(u64),
    /// `search`: how many documents match.
    Hits(u64),
    /// `dashboard_events`: counts by channel and type, without zeros, in order.
    Events(Vec<(Channel, EventType, u64)>),
    /// `dashboard_agents`: name, count and sum of each metric, in order of name. Sums are exact in an f64.
    Metrics(Vec<(&'static str, u64, f64)>),
    /// `dashboard_interactions`: count and money of each type, without zeros, in order.
    Interactions(Vec<(InteractionType, u64, i64)>),
    /// `dashboard_campaigns`: campaign, events and successes, in order of campaign.
    Campaigns(Vec<(Uuid, u64, u64)>),
}

/// What is known about the loaded past.
#[derive(Debug)]
pub struct Known {}

impl Known {
    /// How many communications a timeline shows.
    pub const TIMELINE: usize = 50;

    /// Counts the past once.
    pub fn new(plan: &Plan) -> Self {
        let _ = plan;
        Self {}
    }

    /// The right answer.
    pub fn expected(&self, probe: &Probe) -> Expected {
        unimplemented!("{probe:?}")
    }
}
