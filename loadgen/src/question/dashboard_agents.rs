//! `dashboard_agents`: agent metrics of a window, in ClickHouse.

use clickhouse::Row;
use serde::Deserialize;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{ByDay, PastMetric, Tally};
use crate::population::{METRIC_NAMES, Population, Tenant, rng::KeyedRng};
use crate::target::Targets;

const QUERY: &str = "\
SELECT metric_name, count() AS measurements, sum(metric_value) AS total,
       uniqExact(agent_id) AS agents, argMax(agent_id, metric_value) AS highest
FROM agent_metrics
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY metric_name";

#[derive(Debug)]
pub(super) struct DashboardAgents;

impl Definition for DashboardAgents {
    fn name(&self) -> &'static str {
        "dashboard_agents"
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
            let metric = |group: Group| (group.metric_name, group.measurements, group.total);
            let mut metrics: Vec<_> = groups.into_iter().map(metric).collect();
            metrics.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(Answer::Metrics(metrics))
        })
    }

    fn tally(&self, days: usize) -> Box<dyn Tally> {
        Box::new(Counts(ByDay::new(days)))
    }
}

#[derive(Row, Deserialize)]
struct Group {
    metric_name: String,
    measurements: u64,
    total: f64,
    #[serde(rename = "agents")]
    _agents: u64,
    #[serde(rename = "highest")]
    _highest: String,
}

/// Count and sum of each metric, in the order of [`METRIC_NAMES`].
#[derive(Debug)]
struct Counts(ByDay<[(u64, f64); METRIC_NAMES.len()]>);

impl Tally for Counts {
    fn count_metric(&mut self, metric: PastMetric) {
        let (count, sum) = &mut self.0.at(metric.millis)[metric.name];
        *count += 1;
        *sum += metric.value;
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let days = self.0.range(subject.days());
        let metric = |(index, name): (usize, &&str)| {
            let add = |(count, sum), day: &[(u64, f64); METRIC_NAMES.len()]| (count + day[index].0, sum + day[index].1);
            let (count, sum) = days.iter().fold((0, 0.0), add);
            ((*name).to_owned(), count, sum)
        };
        let metrics = METRIC_NAMES.iter().enumerate().map(metric);
        Answer::Metrics(metrics.filter(|(_, count, _)| *count > 0).collect())
    }
}
