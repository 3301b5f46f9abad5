//! `dashboard_agents`: agent metrics of a window, in ClickHouse. It reads the rows, never an aggregate.

use std::collections::BTreeSet;

use clickhouse::Row;
use serde::Deserialize;

use super::answer::{Answer, MetricGroup};
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
            let mut metrics: Vec<_> = groups.into_iter().map(Group::read).collect();
            metrics.sort_by(|one, two| one.name.cmp(&two.name));
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
    agents: u64,
    highest: String,
}

impl Group {
    fn read(self) -> MetricGroup {
        let Self { metric_name: name, measurements, total, agents, highest } = self;
        MetricGroup { name, measurements, total, agents, highest: vec![highest] }
    }
}

/// One metric of one day.
#[derive(Debug, Clone, Default)]
struct Day {
    measurements: u64,
    total: f64,
    agents: BTreeSet<u64>,
    highest: f64,
    /// The agents that have the highest value.
    highest_agents: BTreeSet<u64>,
}

impl Day {
    fn add(&mut self, metric: PastMetric) {
        self.measurements += 1;
        self.total += metric.value;
        self.agents.insert(metric.agent);
        self.raise(metric.value, [metric.agent]);
    }

    fn join(&mut self, other: &Self) {
        self.measurements += other.measurements;
        self.total += other.total;
        self.agents.extend(&other.agents);
        self.raise(other.highest, other.highest_agents.iter().copied());
    }

    /// Values are never negative, so the first one replaces 0.
    fn raise(&mut self, value: f64, agents: impl IntoIterator<Item = u64>) {
        if value > self.highest {
            self.highest_agents.clear();
        }
        if value >= self.highest {
            self.highest = value;
            self.highest_agents.extend(agents);
        }
    }
}

/// Each metric, in the order of [`METRIC_NAMES`].
#[derive(Debug)]
struct Counts(ByDay<[Day; METRIC_NAMES.len()]>);

impl Tally for Counts {
    fn count_metric(&mut self, metric: PastMetric) {
        self.0.at(metric.millis)[metric.name].add(metric);
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let days = self.0.range(subject.days());
        let metric = |(index, name): (usize, &&str)| {
            let mut sum = Day::default();
            for day in days {
                sum.join(&day[index]);
            }
            let id = |agent: &u64| subject.population.agent(subject.tenant, *agent).id;
            MetricGroup {
                name: (*name).to_owned(),
                measurements: sum.measurements,
                total: sum.total,
                agents: sum.agents.len() as u64,
                highest: sum.highest_agents.iter().map(id).collect(),
            }
        };
        let metrics = METRIC_NAMES.iter().enumerate().map(metric);
        Answer::Metrics(metrics.filter(|metric| metric.measurements > 0).collect())
    }
}
