//! `dashboard_campaigns`: how campaigns perform in a window, from the hourly aggregate of ClickHouse.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::records::EventType;
use uuid::Uuid;

use super::answer::{Answer, sorted};
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{ByDay, PastCommunication, Tally, sum_by_key};
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
            let campaigns = groups.iter().map(|group| Ok((group.campaign_id, group.events, group.succeeded)));
            sorted(campaigns).map(Answer::Campaigns)
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
    #[serde(rename = "mean_ms")]
    _mean_ms: f64,
    #[serde(rename = "p95_ms")]
    _p95_ms: f32,
}

/// Events and successes of each campaign.
#[derive(Debug)]
struct Counts(ByDay<BTreeMap<Uuid, (u64, u64)>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        for step in communication.lifecycle.steps() {
            let (events, successes) = self.0.at(step.millis).entry(communication.campaign).or_default();
            *events += 1;
            *successes += u64::from(step.event != EventType::Failed);
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let sums = sum_by_key(self.0.range(subject.days()), |sum, (events, successes)| {
            sum.0 += events;
            sum.1 += successes;
        });
        Answer::Campaigns(sums.into_iter().map(|(id, (events, successes))| (id, events, successes)).collect())
    }
}
