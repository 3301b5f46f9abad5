//! The questions that probes ask, by the names that scenarios use, and the store that answers each.
//! The exact text of each question is in `docs/scenarios.md`. Asks nothing itself.

use serde::{Deserialize, Serialize};

/// A store that answers questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// PostgreSQL, under row-level security.
    Postgres,
    /// The Redis cache cluster.
    Redis,
    /// Elasticsearch.
    Elasticsearch,
    /// ClickHouse.
    Clickhouse,
}

impl Store {
    /// Every store, in the order of reports.
    pub const ALL: &'static [Self] = &[Self::Postgres, Self::Redis, Self::Elasticsearch, Self::Clickhouse];

    /// The name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Elasticsearch => "elasticsearch",
            Self::Clickhouse => "clickhouse",
        }
    }

    /// The store of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|store| store.as_str() == name)
    }
}

/// A question that probes ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A customer by identity.
    LookupById,
    /// A customer by email address, in any case.
    LookupByEmail,
    /// A customer's context from the cache, or from PostgreSQL and then into the cache.
    LookupCached,
    /// A customer's newest communications.
    Timeline,
    /// A campaign's communications, counted by status.
    CampaignStatus,
    /// Customers whose profile contains a JSON document.
    ProfileContains,
    /// Communications whose content contains a JSON document.
    ContentContains,
    /// Full text, filtered by tenant, channel, language and time.
    Search,
    /// Events of a window, counted by channel and type.
    DashboardEvents,
    /// Agent metrics of a window: count and sum of each.
    DashboardAgents,
    /// Interactions of a window: count and money of each type.
    DashboardInteractions,
    /// Events and successes of each campaign of a tenant, from `campaign_performance`.
    DashboardCampaigns,
}

impl Question {
    /// Every question, in the order of reports.
    pub const ALL: &'static [Self] = &[
        Self::LookupById,
        Self::LookupByEmail,
        Self::LookupCached,
        Self::Timeline,
        Self::CampaignStatus,
        Self::ProfileContains,
        Self::ContentContains,
        Self::Search,
        Self::DashboardEvents,
        Self::DashboardAgents,
        Self::DashboardInteractions,
        Self::DashboardCampaigns,
    ];

    /// The name in scenarios and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LookupById => "lookup_by_id",
            Self::LookupByEmail => "lookup_by_email",
            Self::LookupCached => "lookup_cached",
            Self::Timeline => "timeline",
            Self::CampaignStatus => "campaign_status",
            Self::ProfileContains => "profile_contains",
            Self::ContentContains => "content_contains",
            Self::Search => "search",
            Self::DashboardEvents => "dashboard_events",
            Self::DashboardAgents => "dashboard_agents",
            Self::DashboardInteractions => "dashboard_interactions",
            Self::DashboardCampaigns => "dashboard_campaigns",
        }
    }

    /// The store that answers.
    pub const fn store(self) -> Store {
        match self {
            Self::LookupCached => Store::Redis,
            Self::Search => Store::Elasticsearch,
            Self::DashboardEvents | Self::DashboardAgents | Self::DashboardInteractions | Self::DashboardCampaigns => {
                Store::Clickhouse
            }
            _ => Store::Postgres,
        }
    }

    /// The question of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|question| question.as_str() == name)
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_scenarios_are_the_names_in_json() {
        for &question in Question::ALL {
            assert_eq!(serde_json::to_value(question).unwrap(), question.as_str());
            assert_eq!(Question::named(question.as_str()), Some(question));
        }
        for &store in Store::ALL {
            assert_eq!(serde_json::to_value(store).unwrap(), store.as_str());
        }
    }
}
