//! Answers, as stores return them and as the plan expects them. Every column that a question asks for is compared.

use chrono::{DateTime, Utc};
use sluice_schemas::records::{Channel, Content, Customer, EventType, InteractionType, Session};
use uuid::Uuid;

use super::timing::Timing;
use crate::target::QueryError;

/// Hits on the first page of a search.
pub(super) const PAGE: u64 = 20;

/// An answer of a store, or the one that is expected of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// A customer with all its columns, or none.
    Customer(Option<Box<Customer>>),
    /// A session with all its fields, or none.
    Session(Option<Session>),
    /// Communications, newest first.
    Timeline(Vec<TimelineEntry>),
    /// Communications by status and the newest of each, without zeros, in order of [`EventType`].
    Statuses(Vec<(EventType, u64, DateTime<Utc>)>),
    /// Number of matching rows.
    Rows(u64),
    /// Matching documents.
    Hits {
        /// Number of all hits.
        total: u64,
        /// Identifiers on the first page; of an expected answer, those of all hits.
        ids: Vec<Uuid>,
    },
    /// Events by channel and type, without zeros, in order.
    Events(Vec<EventGroup<(Channel, EventType)>>),
    /// Metrics in order of name.
    Metrics(Vec<MetricGroup>),
    /// Interactions by type, without zeros, in order of [`InteractionType`].
    Interactions(Vec<InteractionGroup>),
    /// Campaigns in order of the UUID's bytes; nil is "no campaign".
    Campaigns(Vec<EventGroup<Uuid>>),
}

/// A communication of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimelineEntry {
    pub(super) id: Uuid,
    pub(super) channel: String,
    pub(super) direction: String,
    pub(super) content: Content,
    pub(super) status: String,
    pub(super) created_at: DateTime<Utc>,
}

/// Events of one key: of a channel and type, or of a campaign.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventGroup<K> {
    pub(super) key: K,
    pub(super) events: u64,
    pub(super) succeeded: u64,
    pub(super) timing: Timing,
}

/// Measurements of one metric.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricGroup {
    pub(super) name: String,
    pub(super) measurements: u64,
    /// Exact in an f64, since values are multiples of a quarter.
    pub(super) total: f64,
    pub(super) agents: u64,
    /// The agent with the highest value; of an expected answer, all that have it.
    pub(super) highest: Vec<String>,
}

/// Interactions of one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InteractionGroup {
    pub(super) kind: InteractionType,
    pub(super) interactions: u64,
    pub(super) money: i64,
    pub(super) customers: u64,
    pub(super) negative: u64,
}

impl Answer {
    /// Whether a store's answer is the expected one.
    pub(crate) fn is(&self, expected: &Self) -> bool {
        match (self, expected) {
            (Self::Hits { total, ids }, Self::Hits { total: expected, ids: all }) => {
                total == expected && is_page(ids, all)
            }
            (Self::Events(groups), Self::Events(expected)) => all_match(groups, expected, EventGroup::is),
            (Self::Metrics(groups), Self::Metrics(expected)) => all_match(groups, expected, MetricGroup::is),
            (Self::Campaigns(groups), Self::Campaigns(expected)) => all_match(groups, expected, EventGroup::is),
            (answer, expected) => answer == expected,
        }
    }
}

/// Whether these are as many different hits as a page has, all of them expected.
fn is_page(page: &[Uuid], all: &[Uuid]) -> bool {
    let mut ids = page.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.len() == page.len() && page.len() as u64 == PAGE.min(all.len() as u64) && ids.iter().all(|id| all.contains(id))
}

fn all_match<T>(groups: &[T], expected: &[T], is: impl Fn(&T, &T) -> bool) -> bool {
    groups.len() == expected.len() && groups.iter().zip(expected).all(|(group, expected)| is(group, expected))
}

impl<K: PartialEq> EventGroup<K> {
    fn is(&self, expected: &Self) -> bool {
        let Self { key, events, succeeded, timing } = self;
        (key, events, succeeded) == (&expected.key, &expected.events, &expected.succeeded)
            && timing.is(&expected.timing)
    }
}

impl MetricGroup {
    fn is(&self, expected: &Self) -> bool {
        let Self { name, measurements, total, agents, highest } = self;
        (name, measurements, total, agents)
            == (&expected.name, &expected.measurements, &expected.total, &expected.agents)
            && highest.iter().all(|agent| expected.highest.contains(agent))
    }
}

/// Reads a label, such as a channel or a status, that `store` returned as text.
pub(super) fn parse_label<T: Copy>(
    store: &'static str,
    all: &[T],
    as_str: fn(T) -> &'static str,
    text: &str,
) -> Result<T, QueryError> {
    let label = all.iter().copied().find(|value| as_str(*value) == text);
    label.ok_or(QueryError::Unreadable { store, what: "a label that no record has" })
}

/// Rows in order of a key, or the first error among them.
pub(super) fn sorted_by_key<T, K: Ord>(
    rows: impl Iterator<Item = Result<T, QueryError>>,
    key: impl Fn(&T) -> K,
) -> Result<Vec<T>, QueryError> {
    let mut rows: Vec<T> = rows.collect::<Result<_, _>>()?;
    rows.sort_unstable_by_key(key);
    Ok(rows)
}
