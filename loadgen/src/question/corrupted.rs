//! Answers with one column wrong, for each column that a question asks for. None of them may count as correct. This
//! module compares nothing itself.

use chrono::{DateTime, TimeDelta, Utc};
use sluice_schemas::records::{AgentMessage, AgentState, Channel, Customer, EventType, InteractionType, Session};
use uuid::Uuid;

use super::answer::{Answer, EventGroup, InteractionGroup, LiveGroup, MetricGroup, TimelineEntry};

/// A column, and how it is made wrong.
type Column<T> = (&'static str, fn(&mut T));

const CUSTOMER: [Column<Customer>; 11] = [
    ("id", |row| row.id = Uuid::nil()),
    ("tenant_id", |row| row.tenant_id = Uuid::nil()),
    ("email", |row| row.email.push('x')),
    ("phone", |row| row.phone = Some("0".to_owned())),
    ("company_name", |row| row.company_name = Some("another".to_owned())),
    ("profile_data", |row| row.profile_data = serde_json::json!({})),
    ("payment_history", |row| row.payment_history = serde_json::json!({})),
    ("preferences", |row| row.preferences = serde_json::json!({})),
    ("created_at", |row| row.created_at += TimeDelta::milliseconds(1)),
    ("updated_at", |row| row.updated_at += TimeDelta::milliseconds(1)),
    ("is_active", |row| row.is_active = !row.is_active),
];

const SESSION: [Column<Session>; 5] = [
    ("tenant_id", |row| row.tenant_id = Uuid::nil()),
    ("user_id", |row| row.user_id.push('x')),
    ("token", |row| row.token = Uuid::nil()),
    ("role", |row| row.role.push('x')),
    ("signed_in_at", |row| row.signed_in_at += TimeDelta::milliseconds(1)),
];

const AGENT_STATE: [Column<AgentState>; 5] = [
    ("tenant_id", |row| row.tenant_id = Uuid::nil()),
    ("agent_id", |row| row.agent_id.push('x')),
    ("status", |row| row.status.push('x')),
    ("customer_id", |row| row.customer_id = Some(Uuid::nil())),
    ("step", |row| row.step += 1_000),
];

const MESSAGE: [Column<AgentMessage>; 5] = [
    ("id", |row| row.id = Uuid::nil()),
    ("tenant_id", |row| row.tenant_id = Uuid::nil()),
    ("agent_id", |row| row.agent_id.push('x')),
    ("task", |row| row.task.push('x')),
    ("customer_id", |row| row.customer_id = Uuid::nil()),
];

const TIMELINE: [Column<TimelineEntry>; 8] = [
    ("id", |row| row.id = Uuid::nil()),
    ("tenant_id", |row| row.tenant_id = Uuid::nil()),
    ("customer_id", |row| row.customer_id = Uuid::nil()),
    ("channel", |row| row.channel.push('x')),
    ("direction", |row| row.direction.push('x')),
    ("content", |row| row.content.body.push('x')),
    ("status", |row| row.status.push('x')),
    ("created_at", |row| row.created_at += TimeDelta::milliseconds(1)),
];

const STATUS: [Column<(EventType, u64, chrono::DateTime<chrono::Utc>)>; 3] = [
    ("status", |row| row.0 = other_event(row.0)),
    ("count", |row| row.1 += 1),
    ("max(created_at)", |row| row.2 += TimeDelta::milliseconds(1)),
];

const EVENTS: [Column<EventGroup<(Channel, EventType)>>; 6] = [
    ("channel", |row| row.key.0 = other_channel(row.key.0)),
    ("event_type", |row| row.key.1 = other_event(row.key.1)),
    ("events", |row| row.events += 1),
    ("succeeded", |row| row.succeeded += 1),
    ("mean_ms", |row| row.timing.corrupt_mean()),
    ("p95_ms", |row| row.timing.corrupt_p95()),
];

const LIVE_EVENTS: [Column<LiveGroup>; 7] = [
    ("channel", |row| row.key.0 = other_channel(row.key.0)),
    ("event_type", |row| row.key.1 = other_event(row.key.1)),
    ("events, one more", |row| row.events = row.events.end() + 1..=row.events.end() + 1),
    ("events, one less", |row| row.events = row.events.start() - 1..=row.events.start() - 1),
    ("succeeded", |row| row.succeeded = row.succeeded.end() + 1..=row.succeeded.end() + 1),
    ("newest, later", |row| row.newest = later(row.newest.end(), 1)..=later(row.newest.end(), 1)),
    ("newest, earlier", |row| row.newest = later(row.newest.start(), -1)..=later(row.newest.start(), -1)),
];

const METRICS: [Column<MetricGroup>; 5] = [
    ("metric_name", |row| row.name.push('x')),
    ("measurements", |row| row.measurements += 1),
    ("total", |row| row.total += 0.25),
    ("agents", |row| row.agents += 1),
    ("highest", |row| row.highest = vec!["nobody".to_owned()]),
];

const INTERACTIONS: [Column<InteractionGroup>; 5] = [
    ("interaction_type", |row| row.kind = other_interaction(row.kind)),
    ("interactions", |row| row.interactions += 1),
    ("money", |row| row.money += 1),
    ("customers", |row| row.customers += 1),
    ("negative", |row| row.negative += 1),
];

const AVERAGES: [Column<(DateTime<Utc>, f64)>; 2] =
    [("hour", |row| row.0 += TimeDelta::hours(1)), ("average", |row| row.1 += 0.001)];

const CAMPAIGNS: [Column<EventGroup<Uuid>>; 5] = [
    ("campaign_id", |row| row.key = Uuid::max()),
    ("events", |row| row.events += 1),
    ("succeeded", |row| row.succeeded += 1),
    ("mean_ms", |row| row.timing.corrupt_mean()),
    ("p95_ms", |row| row.timing.corrupt_p95()),
];

/// The answer with each column wrong in its last row, and without that row; empty if it has no rows.
pub(super) fn corrupted(right: &Answer) -> Vec<(&'static str, Answer)> {
    match right {
        Answer::Customer(customer) => {
            let rows: Vec<Customer> = customer.iter().map(|customer| customer.as_ref().clone()).collect();
            each(&rows, &CUSTOMER, |rows| Answer::Customer(rows.into_iter().next().map(Box::new)))
        }
        Answer::Session(session) => {
            let rows: Vec<Session> = session.iter().cloned().collect();
            each(&rows, &SESSION, |rows| Answer::Session(rows.into_iter().next()))
        }
        Answer::Timeline(rows) => each(rows, &TIMELINE, Answer::Timeline),
        Answer::Statuses(rows) => each(rows, &STATUS, Answer::Statuses),
        Answer::Rows(count) => vec![("count", Answer::Rows(count + 1))],
        Answer::Hits { total, ids } => hits(*total, ids),
        Answer::AgentState { previous, current, ttl } => agent_state(previous, current.as_ref(), *ttl.start()),
        Answer::Messages { received, left } => messages(received, *left),
        Answer::Rate { allowed, count, ttl } => rate(*allowed, *count, *ttl.start()),
        Answer::Recent { total, hits } => recent(*total, hits),
        Answer::Cached { total, ids } => cached(*total.start(), ids),
        Answer::Averages(rows) => each(rows, &AVERAGES, Answer::Averages),
        Answer::Events(rows) => each(rows, &EVENTS, Answer::Events),
        Answer::Metrics(rows) => each(rows, &METRICS, Answer::Metrics),
        Answer::Interactions(rows) => each(rows, &INTERACTIONS, Answer::Interactions),
        Answer::Campaigns(rows) => each(rows, &CAMPAIGNS, Answer::Campaigns),
        Answer::LiveTimeline { entries, .. } => live_timeline(entries),
        Answer::LiveEvents(rows) => each(rows, &LIVE_EVENTS, Answer::LiveEvents),
        // Only questions of a scenario's own have it, and what is expected of them is tested with them.
        Answer::Table { .. } => Vec::new(),
    }
}

fn each<T: Clone>(rows: &[T], columns: &[Column<T>], answer: impl Fn(Vec<T>) -> Answer) -> Vec<(&'static str, Answer)> {
    let Some((last, others)) = rows.split_last() else { return Vec::new() };
    let corrupt = |&(column, corrupt): &Column<T>| {
        let mut wrong = last.clone();
        corrupt(&mut wrong);
        (column, answer(others.iter().cloned().chain([wrong]).collect()))
    };
    columns.iter().map(corrupt).chain([("row", answer(others.to_vec()))]).collect()
}

fn live_timeline(entries: &[TimelineEntry]) -> Vec<(&'static str, Answer)> {
    let with = |entries: Vec<TimelineEntry>| Answer::LiveTimeline { entries, required: [].into() };
    let mut wrong = each(entries, &TIMELINE, with);
    if let [first, second, others @ ..] = entries {
        let swapped = [second, first].into_iter().chain(others).cloned().collect();
        wrong.push(("order", with(swapped)));
        wrong.push(("newest row", with(entries[1..].to_vec())));
        wrong.push(("row that is there twice", with([first].into_iter().chain(entries).cloned().collect())));
    }
    wrong
}

fn later(instant: &DateTime<Utc>, millis: i64) -> DateTime<Utc> {
    *instant + TimeDelta::milliseconds(millis)
}

fn hits(total: u64, ids: &[Uuid]) -> Vec<(&'static str, Answer)> {
    let mut wrong = vec![("total", Answer::Hits { total: total + 1, ids: ids.to_vec() })];
    if let Some((first, others)) = ids.split_first() {
        let foreign = [Uuid::nil()].into_iter().chain(others.iter().copied()).collect();
        wrong.push(("_id", Answer::Hits { total, ids: foreign }));
        wrong.push(("hit", Answer::Hits { total, ids: others.to_vec() }));
        if !others.is_empty() {
            wrong.push(("hit that is there twice", Answer::Hits { total, ids: vec![*first; ids.len()] }));
        }
    }
    wrong
}

fn agent_state(previous: &[AgentState], current: Option<&AgentState>, ttl: i64) -> Vec<(&'static str, Answer)> {
    let current: Vec<AgentState> = current.into_iter().cloned().collect();
    let with = |previous: Vec<AgentState>, current: Vec<AgentState>, ttl: i64| Answer::AgentState {
        previous,
        current: current.into_iter().next(),
        ttl: ttl..=ttl,
    };
    let mut wrong = each(&current, &AGENT_STATE, |current| with(previous.to_vec(), current, ttl));
    // A state that there was not is no row that is missing.
    let changed = each(previous, &AGENT_STATE, |previous| with(previous, current.clone(), ttl));
    wrong.extend(changed.into_iter().filter(|(column, _)| *column != "row"));
    wrong.extend([-2, -1, ttl + 1].map(|ttl| ("ttl", with(previous.to_vec(), current.clone(), ttl))));
    wrong
}

fn messages(received: &[AgentMessage], left: u64) -> Vec<(&'static str, Answer)> {
    let mut wrong = each(received, &MESSAGE, |received| Answer::Messages { received, left });
    wrong.push(("left", Answer::Messages { received: received.to_vec(), left: left + 1 }));
    wrong
}

fn rate(allowed: bool, count: u64, ttl: i64) -> Vec<(&'static str, Answer)> {
    let with = |allowed, count, ttl: i64| Answer::Rate { allowed, count, ttl: ttl..=ttl };
    let other = if allowed { u64::MAX } else { 1 };
    vec![
        ("allowed", with(!allowed, count, ttl)),
        ("count", with(allowed, other, ttl)),
        ("count", with(allowed, 0, ttl)),
        ("ttl", with(allowed, count, -1)),
        ("ttl", with(allowed, count, ttl + 1)),
    ]
}

fn recent(total: u64, hits: &[(DateTime<Utc>, Uuid)]) -> Vec<(&'static str, Answer)> {
    let mut wrong = vec![("total", Answer::Recent { total: total + 1, hits: hits.to_vec() })];
    if let Some((&(created, id), others)) = hits.split_first() {
        let with = |hit| Answer::Recent { total, hits: [hit].into_iter().chain(others.iter().copied()).collect() };
        wrong.push(("key", with((created, Uuid::nil()))));
        wrong.push(("created_ms", with((created + TimeDelta::milliseconds(1), id))));
        wrong.push(("hit", Answer::Recent { total, hits: others.to_vec() }));
        if others.first().is_some_and(|other| other.0 != created) {
            wrong.push(("order", Answer::Recent { total, hits: hits.iter().rev().copied().collect() }));
        }
    }
    wrong
}

fn cached(total: u64, ids: &[Uuid]) -> Vec<(&'static str, Answer)> {
    // More than all customers that match.
    let mut wrong = vec![("total", Answer::Cached { total: 1_000_000..=1_000_000, ids: ids.to_vec() })];
    if let Some((_, others)) = ids.split_first() {
        let foreign = [Uuid::nil()].into_iter().chain(others.iter().copied()).collect();
        wrong.push(("key", Answer::Cached { total: total..=total, ids: foreign }));
        wrong.push(("hit", Answer::Cached { total: total..=total, ids: others.to_vec() }));
        wrong.push(("no hit", Answer::Cached { total: 0..=0, ids: Vec::new() }));
    }
    wrong
}

fn other_event(event: EventType) -> EventType {
    *EventType::ALL.iter().find(|other| **other != event).unwrap()
}

fn other_channel(channel: Channel) -> Channel {
    *Channel::ALL.iter().find(|other| **other != channel).unwrap()
}

fn other_interaction(kind: InteractionType) -> InteractionType {
    *InteractionType::ALL.iter().find(|other| **other != kind).unwrap()
}
