//! `dashboard_campaigns`: how campaigns perform in a window, from the hourly aggregate of ClickHouse. It never reads
//! the events themselves.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::records::EventType;
use uuid::Uuid;

use super::answer::{Answer, EventGroup};
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{ByDay, Durations, PastCommunication, Tally};
use super::timing::Timing;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::Targets;

const QUERY: &str = "\
SELECT campaign_id, sum(total_events) AS events, sum(successful_events) AS succeeded,
       avgMerge(avg_duration) AS mean_ms, quantileTDigestMerge(0.95)(p95_duration) AS p95_ms
FROM campaign_performance
WHERE tenant_id = {tenant:UUID}
  AND hour >= fromUnixTimestamp64Milli({from:Int64}) AND hour < fromUnixTimestamp64Milli({to:Int64})
GROUP BY campaign_id";

#[derive(Debug)]
pub(super) struct DashboardCampaigns;

impl Definition for DashboardCampaigns {
    fn name(&self) -> &'static str {
        "dashboard_campaigns"
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
            let mut campaigns: Vec<_> = groups.iter().map(Group::read).collect();
            campaigns.sort_unstable_by_key(|group| group.key);
            Ok(Answer::Campaigns(campaigns))
        })
    }

    fn tally(&self, days: usize) -> Box<dyn Tally> {
        Box::new(Counts(ByDay::new(days)))
    }
}

#[derive(Row, Deserialize)]
struct Group {
    #[serde(with = "clickhouse::serde::uuid")]
    campaign_id: Uuid,
    events: u64,
    succeeded: u64,
    mean_ms: f64,
    p95_ms: f32,
}

impl Group {
    fn read(&self) -> EventGroup<Uuid> {
        let timing = Timing::measured(self.mean_ms, self.p95_ms);
        EventGroup { key: self.campaign_id, events: self.events, succeeded: self.succeeded, timing }
    }
}

/// Durations and successes of the events of each campaign.
#[derive(Debug)]
struct Counts(ByDay<BTreeMap<Uuid, Durations>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        for (place, step) in communication.lifecycle.steps().iter().enumerate() {
            let group = self.0.at(step.millis).entry(communication.campaign).or_default();
            group.add(communication.duration(place), step.event != EventType::Failed);
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        Answer::Campaigns(Durations::groups(self.0.range(subject.days())))
    }
}
