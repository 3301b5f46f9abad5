//! `live_dashboard`: events of the day before the drive and of the drive so far, by channel and type, in ClickHouse. Each
//! number has bounds: what has been visible before the question, and what may have been sent before the answer. This module
//! counts the past only; the drive adds what it writes.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::records::{Channel, EventType};

use super::answer::{Answer, LiveGroup, sorted_by_key};
use super::dashboard_events;
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{PastCommunication, Tally};
use crate::population::{Era, Population, Tenant, rng::KeyedRng};
use crate::target::clickhouse::STORE;
use crate::target::{QueryError, Targets};

const QUERY: &str = "\
SELECT channel, event_type, count() AS events, countIf(success) AS succeeded,
       toUnixTimestamp64Milli(max(timestamp)) AS newest_ms
FROM communication_events
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY channel, event_type";

const DAY_MS: u64 = 86_400_000;

#[derive(Debug)]
pub(super) struct LiveDashboard;

impl Definition for LiveDashboard {
    fn name(&self) -> &'static str {
        "live_dashboard"
    }

    fn store(&self) -> Store {
        Store::Clickhouse
    }

    fn is_live(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    /// From the day before the drive, or from the start of a later trial, to the end of the drive.
    fn draw_key(&self, population: &Population, _tenant: &Tenant, _rng: &mut KeyedRng) -> Key {
        let drive = population.driven_period();
        let before = if population.trial() == 0 { TimeDelta::days(1) } else { TimeDelta::zero() };
        Key::Window(Window { from: drive.start - before, to: drive.end() })
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let Window { from, to } = subject.window();
            let query = targets.dashboards.query(QUERY, subject.tenant_id(), from..to);
            let groups: Vec<Group> = query.fetch_all().await?;
            sorted_by_key(groups.iter().map(Group::read), |group| group.key).map(Answer::LiveEvents)
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

#[derive(Row, Deserialize)]
struct Group {
    channel: String,
    event_type: String,
    events: u64,
    succeeded: u64,
    newest_ms: i64,
}

impl Group {
    fn read(&self) -> Result<LiveGroup, QueryError> {
        let newest = DateTime::from_timestamp_millis(self.newest_ms);
        let newest = newest.ok_or(QueryError::Unreadable { store: STORE, what: "an instant that no record has" })?;
        Ok(LiveGroup::exactly(
            dashboard_events::key(&self.channel, &self.event_type)?,
            self.events,
            self.succeeded,
            newest,
        ))
    }
}

impl LiveGroup {
    /// A group that is known.
    fn exactly(key: (Channel, EventType), events: u64, succeeded: u64, newest: DateTime<Utc>) -> Self {
        Self { key, events: events..=events, succeeded: succeeded..=succeeded, newest: newest..=newest }
    }
}

/// Events of the last day of the past by channel and type, and the newest of them, in milliseconds since its start.
#[derive(Debug, Default)]
struct Counts(BTreeMap<(Channel, EventType), (u64, u64)>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let last_day = communication.population.period(Era::Past).millis.saturating_sub(DAY_MS);
        for step in communication.lifecycle.steps().iter().filter(|step| step.millis >= last_day) {
            let (events, newest) = self.0.entry((communication.lifecycle.channel, step.event)).or_default();
            *events += 1;
            *newest = step.millis.max(*newest);
        }
    }

    /// What is there before the drive. A later trial does not ask about it.
    fn expected(&self, subject: Subject<'_>) -> Answer {
        let past = subject.population.period(Era::Past);
        let group = |(&key, &(events, newest)): (&(Channel, EventType), &(u64, u64))| {
            let succeeded = if key.1 == EventType::Failed { 0 } else { events };
            LiveGroup::exactly(key, events, succeeded, past.at(newest))
        };
        let is_asked = subject.population.trial() == 0;
        Answer::LiveEvents(self.0.iter().filter(|_| is_asked).map(group).collect())
    }
}
