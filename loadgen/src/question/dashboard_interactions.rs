//! `dashboard_interactions`: what customers did in a window and the money in it, by type, in ClickHouse. The window
//! never reaches into the drive.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::records::InteractionType;

use super::answer::{Answer, InteractionGroup, parse_label, sorted_by_key};
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::Subject;
use super::tally::{ByDay, PastCommunication, Tally};
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
            sorted_by_key(groups.iter().map(Group::read), |group| group.kind).map(Answer::Interactions)
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
    customers: u64,
    negative: u64,
}

impl Group {
    fn read(&self) -> Result<InteractionGroup, QueryError> {
        let kind = parse_label(STORE, InteractionType::ALL, InteractionType::as_str, &self.interaction_type)?;
        let Self { interactions, money, customers, negative, .. } = *self;
        Ok(InteractionGroup { kind, interactions, money, customers, negative })
    }
}

/// One type of interactions on one day.
#[derive(Debug, Clone, Default)]
struct Day {
    interactions: u64,
    money: i64,
    customers: BTreeSet<u64>,
    negative: u64,
}

/// Interactions of each type.
#[derive(Debug)]
struct Counts(ByDay<BTreeMap<InteractionType, Day>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let PastCommunication { population, tenant, index, lifecycle, .. } = communication;
        for (place, step) in lifecycle.steps().iter().enumerate() {
            if let Some(record) = population.interaction(Era::Past, *tenant, *index, lifecycle, place) {
                let day = self.0.at(step.millis).entry(record.interaction_type).or_default();
                day.interactions += 1;
                day.money += record.amount_minor;
                day.customers.insert(lifecycle.customer);
                day.negative += u64::from(record.sentiment == "negative");
            }
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let mut sums = BTreeMap::<InteractionType, Day>::new();
        for (&kind, day) in self.0.range(subject.days()).iter().flatten() {
            let sum = sums.entry(kind).or_default();
            sum.interactions += day.interactions;
            sum.money += day.money;
            sum.customers.extend(&day.customers);
            sum.negative += day.negative;
        }
        let group = |(kind, day): (InteractionType, Day)| {
            let Day { interactions, money, customers, negative } = day;
            InteractionGroup { kind, interactions, money, customers: customers.len() as u64, negative }
        };
        Answer::Interactions(sums.into_iter().map(group).collect())
    }
}
