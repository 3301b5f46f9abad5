//! The stores as the probes and writers see them: one client for each, opened once and shared.
//! Settings and names go in; questions with their exact texts, and a producer, come out. Never decides when to ask, and
//! never judges an answer.
//!
//! The texts are constants beside the code that sends them, and `docs/scenarios.md` quotes each of them.

pub mod clickhouse;
pub mod elasticsearch;
pub mod postgres;
pub mod redis;

use chrono::{DateTime, Utc};
use sluice_schemas::connect::ConnectError;
use sluice_schemas::elastic::ElasticError;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;

/// A half-open span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First instant.
    pub from: DateTime<Utc>,
    /// One past the last instant.
    pub to: DateTime<Utc>,
}

/// A question that got no answer, or one that cannot be an answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The store could not be reached at all.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL refused or broke.
    #[error("ask PostgreSQL: {0}")]
    Postgres(#[from] sqlx::Error),
    /// Redis refused or broke.
    #[error("ask Redis: {0}")]
    Redis(#[from] ::redis::RedisError),
    /// Elasticsearch refused or broke.
    #[error("ask Elasticsearch: {0}")]
    Elasticsearch(#[from] ElasticError),
    /// ClickHouse refused or broke.
    #[error("ask ClickHouse: {0}")]
    ClickHouse(#[from] ::clickhouse::error::Error),
    /// The store answered with something that is no answer.
    #[error("read the answer of {store}: {what}")]
    Unreadable {
        /// The store.
        store: &'static str,
        /// What it answered with, without data.
        what: &'static str,
    },
    /// The store answered with a row that is not the asker's.
    #[error("read the answer of {0}: a row of another tenant or customer")]
    Foreign(&'static str),
}

impl AskError {
    /// Whether the store did answer, and wrongly.
    pub fn is_wrong_answer(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Foreign(_))
    }
}

/// A client for each store that answers questions.
#[derive(Debug, Clone)]
pub struct Targets {
    /// Lookups, timelines, containment.
    pub postgres: postgres::Postgres,
    /// Lookups through the cache.
    pub cache: redis::Cache,
    /// Full text.
    pub searcher: elasticsearch::Searcher,
    /// Dashboards.
    pub dashboards: clickhouse::Dashboards,
}

impl Targets {
    /// Connects to every store.
    pub async fn connect(stores: &Stores, names: &Names) -> Result<Self, AskError> {
        Ok(Self {
            postgres: postgres::Postgres::connect(stores, names).await?,
            cache: redis::Cache::connect(stores, names).await?,
            searcher: elasticsearch::Searcher::new(stores, names)?,
            dashboards: clickhouse::Dashboards::new(stores, names),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_quotes_every_text_as_it_is_sent() {
        let page = include_str!("../../docs/scenarios.md");
        for text in [
            postgres::SET_TENANT,
            postgres::CUSTOMER_BY_ID,
            postgres::CUSTOMER_BY_EMAIL,
            postgres::TIMELINE,
            postgres::CAMPAIGN_STATUS,
            postgres::PROFILE_CONTAINS,
            postgres::CONTENT_CONTAINS,
            redis::GET_CONTEXT,
            redis::SET_CONTEXT,
            elasticsearch::SEARCH,
            clickhouse::DASHBOARD_EVENTS,
            clickhouse::DASHBOARD_AGENTS,
            clickhouse::DASHBOARD_INTERACTIONS,
            clickhouse::DASHBOARD_CAMPAIGNS,
            crate::drive::INSERT_COMMUNICATIONS,
        ] {
            assert!(page.contains(&format!("\n{text}\n```\n")), "docs/scenarios.md does not quote this:\n{text}");
        }
        for question in crate::question::Question::ALL {
            assert!(page.contains(&format!("`{question}`")), "docs/scenarios.md does not explain {question}");
        }
    }
}
