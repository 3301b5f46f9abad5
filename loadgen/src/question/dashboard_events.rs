//! `dashboard_events`: what happened to communications in a window, by channel and type, in ClickHouse. It scans the
//! events and uses no aggregate.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::records::{Channel, EventType};

use super::answer::{Answer, EventGroup, parse_label, sorted_by_key};
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{ByDay, Durations, PastCommunication, Tally};
use super::timing::Timing;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::clickhouse::STORE;
use crate::target::{QueryError, Targets};

const QUERY: &str = "\
SELECT channel, event_type, count() AS events, countIf(success) AS succeeded,
       avg(duration_ms) AS mean_ms, quantileTDigest(0.95)(duration_ms) AS p95_ms
FROM communication_events
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY channel, event_type";

#[derive(Debug)]
pub(super) struct DashboardEvents;

impl Definition for DashboardEvents {
    fn name(&self) -> &'static str {
        "dashboard_events"
    }

    fn store(&self) -> Store {
        Store::Clickhouse
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    fn draw_key(&self, population: &Population, _tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::Window(Window::draw(population, rng))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let Window { from, to } = subject.window();
            let query = targets.dashboards.query(QUERY, subject.tenant_id(), from..to);
            let groups: Vec<Group> = query.fetch_all().await?;
            sorted_by_key(groups.iter().map(Group::read), |group| group.key).map(Answer::Events)
        })
    }

    fn tally(&self, days: usize) -> Box<dyn Tally> {
        Box::new(Counts(ByDay::new(days)))
    }
}

#[derive(Row, Deserialize)]
struct Group {
    channel: String,
    event_type: String,
    events: u64,
    succeeded: u64,
    mean_ms: f64,
    p95_ms: f32,
}

impl Group {
    fn read(&self) -> Result<EventGroup<(Channel, EventType)>, QueryError> {
        let key = key(&self.channel, &self.event_type)?;
        let timing = Timing::measured(self.mean_ms, self.p95_ms);
        Ok(EventGroup { key, events: self.events, succeeded: self.succeeded, timing })
    }
}

/// What a group is of.
pub(super) fn key(channel: &str, event_type: &str) -> Result<(Channel, EventType), QueryError> {
    let channel = parse_label(STORE, Channel::ALL, Channel::as_str, channel)?;
    Ok((channel, parse_label(STORE, EventType::ALL, EventType::as_str, event_type)?))
}

/// Durations and successes of the events of each channel and type.
#[derive(Debug)]
struct Counts(ByDay<BTreeMap<(Channel, EventType), Durations>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let channel = communication.lifecycle.channel;
        for (place, step) in communication.lifecycle.steps().iter().enumerate() {
            let group = self.0.at(step.millis).entry((channel, step.event)).or_default();
            group.add(communication.duration(place), step.event != EventType::Failed);
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        Answer::Events(Durations::groups(self.0.range(subject.days())))
    }
}
