//! The questions' names and texts, and the oracle against a count over the records themselves.

use std::collections::BTreeMap;
use std::ops::Range;

use sluice_schemas::records::{AgentMetric, Communication, CommunicationEvent, CustomerInteraction};

use super::oracle::Oracle;
use super::*;
use crate::plan::{Plan, Probe};
use crate::population::METRIC_NAMES;
use crate::scenario::Scenario;

#[test]
fn names_in_scenarios_are_the_names_in_json() {
    for &question in Question::ALL {
        assert_eq!(serde_json::to_value(question).unwrap(), question.as_str());
        assert_eq!(Question::from_name(question.as_str()), Some(question));
    }
}

#[test]
fn all_questions_are_in_the_order_of_the_enum() {
    assert!(Question::ALL.iter().enumerate().all(|(index, &question)| question as usize == index));
}

#[test]
fn the_documentation_quotes_every_text_as_it_is_sent() {
    let page = include_str!("../../../docs/scenarios.md");
    for question in Question::ALL {
        assert!(page.contains(&format!("`{question}`")), "docs/scenarios.md does not explain {question}");
        for text in question.texts() {
            assert!(page.contains(&format!("\n{text}\n```\n")), "docs/scenarios.md does not quote this:\n{text}");
        }
    }
}

/// One tenant's past records.
struct Past {
    communications: Vec<Communication>,
    events: Vec<CommunicationEvent>,
    interactions: Vec<CustomerInteraction>,
    metrics: Vec<AgentMetric>,
}

fn past(population: &Population, tenant: usize) -> Past {
    let owner = &population.tenants()[tenant];
    Past {
        communications: (0..owner.past_communications).map(|i| population.past_communication(tenant, i)).collect(),
        events: (0..owner.past_communications).flat_map(|i| population.past_events(tenant, i)).collect(),
        interactions: (0..owner.past_communications).flat_map(|i| population.past_interactions(tenant, i)).collect(),
        metrics: (0..owner.past_metrics).map(|i| population.past_metric(tenant, i)).collect(),
    }
}

fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    part.as_object().unwrap().iter().all(|(key, value)| whole.get(key) == Some(value))
}

/// The expected answer by brute force.
fn answer(population: &Population, past: &Past, probe: &Probe) -> Answer {
    let tenant = probe.tenant;
    match &probe.key {
        Key::Customer(index) if probe.question == Question::Timeline => {
            let id = population.customer_id(tenant, *index);
            let mut communications: Vec<_> =
                past.communications.iter().filter(|record| record.customer_id == id).collect();
            communications.sort_by_key(|record| std::cmp::Reverse(record.created_at));
            Answer::Timeline(communications.iter().take(timeline::LIMIT).map(|record| record.id).collect())
        }
        Key::Customer(index) => {
            let customer = population.customer(tenant, *index);
            Answer::Customer(Some(Box::new(customer)))
        }
        Key::Campaign(index) => {
            let id = Some(population.campaign_id(tenant, *index));
            Answer::Statuses(tally(
                past.communications.iter().filter(|record| record.campaign_id == id).map(|record| record.status),
            ))
        }
        Key::Profile(document) => {
            let people = (0..population.tenants()[tenant].customers).map(|i| population.customer(tenant, i));
            Answer::Rows(people.filter(|customer| contains(&customer.profile_data, document)).count() as u64)
        }
        Key::Content(document) => {
            let content = |record: &&Communication| contains(&serde_json::to_value(&record.content).unwrap(), document);
            Answer::Rows(past.communications.iter().filter(content).count() as u64)
        }
        Key::Search { word, language, channel, from, to } => {
            let hit = |record: &&Communication| {
                let text = format!("{} {}", record.content.subject, record.content.body).to_lowercase();
                text.split(|c: char| !c.is_alphanumeric()).any(|token| token == *word)
                    && record.content.language == *language
                    && record.channel == *channel
                    && (*from..*to).contains(&record.created_at)
            };
            Answer::Hits(past.communications.iter().filter(hit).count() as u64)
        }
        Key::Window(Window { from, to }) => dashboard_answer(past, probe.question, &(*from..*to)),
    }
}

fn dashboard_answer(past: &Past, question: Question, window: &Range<chrono::DateTime<chrono::Utc>>) -> Answer {
    let events = || past.events.iter().filter(|record| window.contains(&record.timestamp));
    match question {
        Question::DashboardEvents => {
            let tally = tally(events().map(|record| (record.channel, record.event_type)));
            Answer::Events(tally.into_iter().map(|((channel, event), count)| (channel, event, count)).collect())
        }
        Question::DashboardCampaigns => {
            let mut sums = BTreeMap::<_, (u64, u64)>::new();
            for record in events() {
                let sum = sums.entry(record.campaign_id).or_default();
                *sum = (sum.0 + 1, sum.1 + u64::from(record.success));
            }
            Answer::Campaigns(sums.into_iter().map(|(id, (all, good))| (id, all, good)).collect())
        }
        Question::DashboardInteractions => {
            let mut sums = BTreeMap::<_, (u64, i64)>::new();
            for record in past.interactions.iter().filter(|record| window.contains(&record.timestamp)) {
                let sum = sums.entry(record.interaction_type).or_default();
                *sum = (sum.0 + 1, sum.1 + record.amount_minor);
            }
            Answer::Interactions(sums.into_iter().map(|(kind, (count, money))| (kind, count, money)).collect())
        }
        Question::DashboardAgents => {
            let of = |name| {
                past.metrics
                    .iter()
                    .filter(move |record| record.metric_name == name && window.contains(&record.timestamp))
            };
            let names = METRIC_NAMES;
            Answer::Metrics(
                names
                    .map(|name| {
                        (name.to_owned(), of(name).count() as u64, of(name).map(|record| record.metric_value).sum())
                    })
                    .to_vec(),
            )
        }
        other => unreachable!("{other} has no window"),
    }
}

fn tally<K: Ord>(items: impl Iterator<Item = K>) -> Vec<(K, u64)> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

#[test]
fn the_oracle_agrees_with_a_count_over_the_records() {
    let smoke = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    let scenario = Scenario { customers: 300, history: 700, communications: 1_500, ..smoke };
    let plan = Plan::new(&scenario, &Population::new(&scenario));
    let oracle = Oracle::new(plan.population());
    let pasts: Vec<Past> = (0..3).map(|tenant| past(plan.population(), tenant)).collect();
    let mut non_empty = 0;
    for &question in Question::ALL {
        for probe in plan.probes(question).take(40) {
            let expected = oracle.expected(question, probe.tenant, &probe.key);
            assert_eq!(expected, answer(plan.population(), &pasts[probe.tenant], &probe), "{probe:?}");
            non_empty += u64::from(!matches!(expected, Answer::Hits(0) | Answer::Rows(0)));
        }
    }
    assert!(non_empty > 300, "{non_empty} of 480 probes have something to find");
}
