//! Answers, as stores return them and as the plan expects them. Every column that a question asks for is compared. This
//! module never asks a store.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use sluice_schemas::records::{
    AgentMessage, AgentState, Channel, Content, Customer, EventType, InteractionType, Session,
};
use uuid::Uuid;

use super::timing::Timing;
use crate::target::QueryError;

/// Hits on the first page of a search.
pub(super) const PAGE: u64 = 20;
/// Communications of a timeline.
pub(super) const NEWEST: usize = 50;

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
    /// An agent's state.
    AgentState {
        /// The replaced state, if there was one; of an expected answer, all that it may be.
        previous: Vec<AgentState>,
        /// The new state.
        current: Option<AgentState>,
        /// Its time to live, in seconds; an expected answer has the shortest and the longest.
        ttl: RangeInclusive<i64>,
    },
    /// Messages to an agent.
    Messages {
        /// Those that were received, in order; of an expected answer, all that may be, and at the end that which must be.
        received: Vec<AgentMessage>,
        /// How many are left.
        left: u64,
    },
    /// A counted request.
    Rate {
        /// Whether it is allowed.
        allowed: bool,
        /// Its number; of an expected answer, the highest that is allowed.
        count: u64,
        /// Time to live of the counter, in seconds; an expected answer has the shortest and the longest.
        ttl: RangeInclusive<i64>,
    },
    /// Recent communications, newest first.
    Recent {
        /// Number of all hits.
        total: u64,
        /// The first page; of an expected answer, all hits.
        hits: Vec<RecentHit>,
    },
    /// Customers that the cache has.
    Cached {
        /// How many it has; an expected answer has the fewest and the most.
        total: RangeInclusive<u64>,
        /// Identifiers on the first page; of an expected answer, those of all customers that it may have.
        ids: Vec<Uuid>,
    },
    /// Averages of a metric by hour.
    Averages(Vec<(DateTime<Utc>, f64)>),
    /// Events by channel and type, without zeros, in order.
    Events(Vec<EventGroup<(Channel, EventType)>>),
    /// Metrics in order of name.
    Metrics(Vec<MetricGroup>),
    /// Interactions by type, without zeros, in order of [`InteractionType`].
    Interactions(Vec<InteractionGroup>),
    /// Campaigns in order of the UUID's bytes; nil is "no campaign".
    Campaigns(Vec<EventGroup<Uuid>>),
    /// Communications while more are written.
    LiveTimeline {
        /// Newest first; of an expected answer, all that may be there.
        entries: Vec<TimelineEntry>,
        /// Of an expected answer, those that must be there, unless newer ones leave no room.
        required: BTreeSet<Uuid>,
    },
    /// Events by channel and type while more are written, without zeros, in order.
    LiveEvents(Vec<LiveGroup>),
    /// The answer to a question of a scenario's own.
    Table {
        /// Number of rows, hits or elements.
        rows: u64,
        /// The first value of the first row, as text, if there is one and it is compared.
        first: Option<String>,
    },
}

/// When a recent communication was created, and its identifier.
pub(super) type RecentHit = (DateTime<Utc>, Uuid);

/// A communication of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimelineEntry {
    pub(crate) id: Uuid,
    pub(super) tenant_id: Uuid,
    pub(super) customer_id: Uuid,
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

/// Events of a channel and type while more are written; an expected answer has the least and the most of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveGroup {
    pub(crate) key: (Channel, EventType),
    pub(crate) events: RangeInclusive<u64>,
    pub(crate) succeeded: RangeInclusive<u64>,
    pub(crate) newest: RangeInclusive<DateTime<Utc>>,
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
            (
                Self::AgentState { previous, current, ttl },
                Self::AgentState { previous: possible, current: expected, ttl: bounds },
            ) => {
                current == expected && previous.iter().all(|one| possible.contains(one)) && bounds.contains(ttl.start())
            }
            (Self::Messages { received, left }, Self::Messages { received: possible, left: expected }) => {
                left == expected
                    && received.last() == possible.last()
                    && received.iter().all(|one| possible.contains(one))
            }
            (Self::Rate { allowed, count, ttl }, Self::Rate { count: limit, ttl: bounds, .. }) => {
                *count > 0 && *allowed == (count <= limit) && bounds.contains(ttl.start())
            }
            (Self::Recent { total, hits }, Self::Recent { total: expected, hits: all }) => {
                total == expected && is_newest(hits, all)
            }
            (Self::Cached { total, ids }, Self::Cached { total: expected, ids: all }) => {
                let page = PAGE.min(*total.start());
                expected.contains(total.start()) && ids.len() as u64 == page && are_among(ids, all)
            }
            (Self::Averages(hours), Self::Averages(expected)) => all_match(hours, expected, is_average),
            (Self::Events(groups), Self::Events(expected)) => all_match(groups, expected, EventGroup::is),
            (Self::Metrics(groups), Self::Metrics(expected)) => all_match(groups, expected, MetricGroup::is),
            (Self::Campaigns(groups), Self::Campaigns(expected)) => all_match(groups, expected, EventGroup::is),
            (Self::LiveTimeline { entries, .. }, Self::LiveTimeline { entries: possible, required }) => {
                is_live_timeline(entries, possible, required)
            }
            (Self::LiveEvents(groups), Self::LiveEvents(expected)) => are_within(groups, expected),
            (answer, expected) => answer == expected,
        }
    }
}

/// Whether these are as many different hits as a page has, all of them expected.
fn is_page(page: &[Uuid], all: &[Uuid]) -> bool {
    page.len() as u64 == PAGE.min(all.len() as u64) && are_among(page, all)
}

/// Whether these are different identifiers, all of them expected.
fn are_among(page: &[Uuid], all: &[Uuid]) -> bool {
    let mut ids = page.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.len() == page.len() && ids.iter().all(|id| all.contains(id))
}

/// Whether these are the newest hits. Which of those of one instant are on the page is open.
fn is_newest(page: &[RecentHit], all: &[RecentHit]) -> bool {
    let ids: Vec<Uuid> = page.iter().map(|(_, id)| *id).collect();
    let of_all: Vec<Uuid> = all.iter().map(|(_, id)| *id).collect();
    let times = page.iter().zip(all).all(|((created, _), (expected, _))| created == expected);
    times && is_page(&ids, &of_all) && page.iter().all(|hit| all.contains(hit))
}

/// Whether these are the newest of the possible communications, with all that are required.
fn is_live_timeline(entries: &[TimelineEntry], possible: &[TimelineEntry], required: &BTreeSet<Uuid>) -> bool {
    let is_sorted = entries.windows(2).all(|pair| pair[0].place() > pair[1].place());
    let oldest = entries.last().filter(|_| entries.len() == NEWEST).map(TimelineEntry::place);
    let is_shown =
        |entry: &TimelineEntry| entries.contains(entry) || oldest.is_some_and(|oldest| entry.place() < oldest);
    entries.len() <= NEWEST
        && is_sorted
        && entries.iter().all(|entry| possible.contains(entry))
        && possible.iter().filter(|entry| required.contains(&entry.id)).all(is_shown)
}

/// Whether each group is within its bounds, and none that must be there is missing.
fn are_within(groups: &[LiveGroup], expected: &[LiveGroup]) -> bool {
    let is_sorted = groups.windows(2).all(|pair| pair[0].key < pair[1].key);
    let is_within = |group: &LiveGroup| {
        let LiveGroup { key, events, succeeded, newest } = group;
        let bounds = expected.iter().find(|bounds| bounds.key == *key);
        // Whether an event succeeds, its type says.
        let successes = if key.1 == EventType::Failed { 0 } else { *events.start() };
        bounds.is_some_and(|bounds| {
            *succeeded.start() == successes
                && bounds.events.contains(events.start())
                && bounds.succeeded.contains(succeeded.start())
                && bounds.newest.contains(newest.start())
        })
    };
    let is_there =
        |bounds: &LiveGroup| *bounds.events.start() == 0 || groups.iter().any(|group| group.key == bounds.key);
    is_sorted && groups.iter().all(is_within) && expected.iter().all(is_there)
}

impl TimelineEntry {
    /// Its place in a timeline: the newest is the greatest.
    pub(crate) fn place(&self) -> (DateTime<Utc>, Uuid) {
        (self.created_at, self.id)
    }
}

/// Largest relative error of an average: it is a quotient of two numbers that are exact.
const AVERAGE_ERROR: f64 = 1e-9;

fn is_average(hour: &(DateTime<Utc>, f64), expected: &(DateTime<Utc>, f64)) -> bool {
    hour.0 == expected.0 && (hour.1 - expected.1).abs() <= AVERAGE_ERROR * expected.1.abs().max(1.0)
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
