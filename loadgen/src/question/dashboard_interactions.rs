//! `dashboard_interactions`: what customers did in a window and the money in it, by type, in ClickHouse.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::records::InteractionType;

use super::answer::{Answer, parse_label, sorted};
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{ByDay, PastCommunication, Tally, sum_by_key};
use crate::population::{Era, Population, Tenant, rng::KeyedRng};
use crate::target::clickhouse::STORE;
use crate::target::{QueryError, Targets};

const QUERY: &str = "\
SELECT interaction_type, count() AS interactions, sum(amount_minor) AS money,
       uniqExact(customer_id) AS customers, countIf(sentiment = 'negative') AS negative
FROM customer_interactions
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY interaction_type";

#[derive(Debug)]
pub(super) struct DashboardInteractions;

impl Definition for DashboardInteractions {
    fn name(&self) -> &'static str {
        "dashboard_interactions"
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
            sorted(groups.iter().map(Group::count)).map(Answer::Interactions)
        })
    }

    fn tally(&self, days: usize) -> Box<dyn Tally> {
        Box::new(Counts(ByDay::new(days)))
    }
}

#[derive(Row, Deserialize)]
struct Group {
    interaction_type: String,
    interactions: u64,
    money: i64,
    #[serde(rename = "customers")]
    _customers: u64,
    #[serde(rename = "negative")]
    _negative: u64,
}

impl Group {
    fn count(&self) -> Result<(InteractionType, u64, i64), QueryError> {
        let kind = parse_label(STORE, InteractionType::ALL, InteractionType::as_str, &self.interaction_type)?;
        Ok((kind, self.interactions, self.money))
    }
}

/// Count and money of each type.
#[derive(Debug)]
struct Counts(ByDay<BTreeMap<InteractionType, (u64, i64)>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let PastCommunication { population, tenant, index, lifecycle, .. } = communication;
        for (place, step) in lifecycle.steps().iter().enumerate() {
            if let Some((kind, amount)) = population.interaction_kind(Era::Past, *tenant, *index, lifecycle, place) {
                let (count, money) = self.0.at(step.millis).entry(kind).or_default();
                *count += 1;
                *money += amount;
            }
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let sums = sum_by_key(self.0.range(subject.days()), |sum, (count, money)| {
            sum.0 += count;
            sum.1 += money;
        });
        Answer::Interactions(sums.into_iter().map(|(kind, (count, money))| (kind, count, money)).collect())
    }
}
