//! The questions' names and texts, and the oracle against a count over the records themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use chrono::DurationRound as _;
use sluice_schemas::records::{AgentMetric, Channel, Communication, CommunicationEvent, CustomerInteraction};

use super::answer::{EventGroup, InteractionGroup, MetricGroup, TimelineEntry};
use super::corrupted::corrupted;
use super::oracle::Oracle;
use super::timing::Timing;
use super::*;
use crate::plan::{Plan, Probe};
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
    assert!(Question::ALL.iter().enumerate().all(|(index, &question)| question.place() == Some(index)));
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

/// The words of a query without its conditions, whose values come from elsewhere.
fn without_conditions(text: &str) -> Vec<&str> {
    let (selected, rest) = text.split_once("WHERE").unwrap();
    let ends = ["GROUP BY", "ORDER BY"].into_iter().filter_map(|end| rest.find(end)).min();
    selected.split_whitespace().chain(ends.map_or("", |end| &rest[end..]).split_whitespace()).collect()
}

#[test]
fn the_questions_of_the_scenario_deployment_are_those_of_the_platform() {
    let file: toml::Table = include_str!("../../../scenarios/deployment.toml").parse().unwrap();
    let same = [
        ("customer_by_id", Question::LookupById),
        ("newest_communications", Question::Timeline),
        ("campaign_by_status", Question::CampaignStatus),
        ("customers_by_profile", Question::ProfileContains),
        ("communications_by_content", Question::ContentContains),
        ("events_by_channel", Question::DashboardEvents),
        ("agents_by_metric", Question::DashboardAgents),
        ("interactions_by_type", Question::DashboardInteractions),
        ("campaign_results", Question::DashboardCampaigns),
    ];
    for (name, question) in same {
        let text = file["question"][name]["text"].as_str().unwrap();
        assert_eq!(without_conditions(text), without_conditions(question.texts()[0]), "{name}");
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
    if let Some(answer) = real_time_answer(population, past, probe) {
        return answer;
    }
    match &probe.key {
        Key::Customer(index) if probe.question == Question::Timeline => {
            Answer::Timeline(newest(past, population.customer_id(tenant, *index)))
        }
        Key::Customer(index) if probe.question == Question::LiveTimeline => {
            let entries = newest(past, population.customer_id(tenant, *index));
            Answer::LiveTimeline { entries, required: [].into() }
        }
        Key::Customer(index) => {
            let customer = population.customer(tenant, *index);
            let is_found = customer.is_active || probe.question != Question::LookupByEmail;
            Answer::Customer(Some(Box::new(customer)).filter(|_| is_found))
        }
        Key::Campaign(index) => {
            let id = Some(population.campaign_id(tenant, *index));
            let mut statuses = BTreeMap::new();
            for record in past.communications.iter().filter(|record| record.campaign_id == id) {
                let (count, newest) = statuses.entry(record.status).or_insert((0, record.created_at));
                (*count, *newest) = (*count + 1, record.created_at.max(*newest));
            }
            Answer::Statuses(statuses.into_iter().map(|(status, (count, newest))| (status, count, newest)).collect())
        }
        Key::Profile(document) => {
            let people = (0..population.tenants()[tenant].customers).map(|i| population.customer(tenant, i));
            Answer::Rows(
                people.filter(|customer| customer.is_active && contains(&customer.profile_data, document)).count()
                    as u64,
            )
        }
        Key::Content(document) => {
            let content = |record: &&Communication| contains(&serde_json::to_value(&record.content).unwrap(), document);
            Answer::Rows(past.communications.iter().filter(content).count() as u64)
        }
        Key::Search { .. } => {
            let all: Vec<_> = hits(past, &probe.key).map(|record| record.id).collect();
            // Any page of hits is correct.
            let page = all.iter().rev().take(20).copied().collect();
            Answer::Hits { total: all.len() as u64, ids: page }
        }
        Key::Window(Window { from, to }) => dashboard_answer(past, probe.question, &(*from..*to)),
        other => unreachable!("{other:?} is about real-time state"),
    }
}

fn newest(past: &Past, customer: uuid::Uuid) -> Vec<TimelineEntry> {
    let mut communications: Vec<_> =
        past.communications.iter().filter(|record| record.customer_id == customer).collect();
    communications.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.id)));
    communications.into_iter().take(answer::NEWEST).cloned().map(TimelineEntry::from).collect()
}

/// The communications that a search finds, oldest first.
fn hits<'a>(past: &'a Past, key: &Key) -> impl Iterator<Item = &'a Communication> {
    let Key::Search { word, language, channel, from, to } = key.clone() else { unreachable!("{key:?}") };
    past.communications.iter().filter(move |record| {
        record.content.body.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|token| token == word)
            && record.content.language == language
            && record.channel == channel
            && (from..to).contains(&record.created_at)
    })
}

/// The expected answer to a question about real-time state, by brute force.
fn real_time_answer(population: &Population, past: &Past, probe: &Probe) -> Option<Answer> {
    let tenant = probe.tenant;
    Some(match &probe.key {
        Key::Agent(index) => Answer::Session(Some(population.session(tenant, *index))),
        Key::AgentStep { agent, step } if probe.question == Question::AgentState => {
            let state = |step| population.agent_state(tenant, *agent, step);
            Answer::AgentState { previous: vec![state((step + 1) % 16)], current: Some(state(*step)), ttl: 300..=300 }
        }
        Key::AgentStep { agent, step } => {
            Answer::Messages { received: vec![population.agent_message(tenant, *agent, *step)], left: 0 }
        }
        Key::Channel(channel) => {
            let count = if *channel == Channel::Sms { 31 } else { 30 };
            Answer::Rate { allowed: count <= 30, count, ttl: 60..=60 }
        }
        Key::Profile(document) if probe.question == Question::CachedProfiles => {
            // What the load has cached; lookups may have added others.
            let cached = 0..population.tenants()[tenant].customers.div_ceil(5);
            let people = cached.map(|index| population.customer(tenant, index));
            let found = people.filter(|customer| customer.is_active && contains(&customer.profile_data, document));
            let ids: Vec<_> = found.map(|customer| customer.id).collect();
            Answer::Cached { total: ids.len() as u64..=ids.len() as u64, ids: ids.into_iter().take(20).collect() }
        }
        Key::Search { .. } if probe.question == Question::RecentSearch => {
            let mut all: Vec<_> = hits(past, &probe.key).map(|record| (record.created_at, record.id)).collect();
            all.sort_unstable_by(|one, other| other.cmp(one));
            Answer::Recent { total: all.len() as u64, hits: all.into_iter().take(20).collect() }
        }
        Key::Series { metric, window } => averages(past, crate::population::METRIC_NAMES[*metric], *window),
        _ => return None,
    })
}

fn averages(past: &Past, metric: &str, window: Window) -> Answer {
    let mut hours = BTreeMap::new();
    for record in past.metrics.iter().filter(|record| record.metric_name == metric) {
        if (window.from..window.to).contains(&record.timestamp) {
            let hour = record.timestamp.duration_trunc(chrono::TimeDelta::hours(1)).unwrap();
            let (count, sum) = hours.entry(hour).or_insert((0.0, 0.0));
            (*count, *sum) = (*count + 1.0, *sum + record.metric_value);
        }
    }
    Answer::Averages(hours.into_iter().map(|(hour, (count, sum))| (hour, sum / count)).collect())
}

fn dashboard_answer(past: &Past, question: Question, window: &Range<chrono::DateTime<chrono::Utc>>) -> Answer {
    let events = || past.events.iter().filter(|record| window.contains(&record.timestamp));
    match question {
        Question::DashboardEvents => {
            Answer::Events(event_groups(events(), |record| (record.channel, record.event_type)))
        }
        Question::DashboardCampaigns => Answer::Campaigns(event_groups(events(), |record| record.campaign_id)),
        Question::DashboardInteractions => {
            let interactions = past.interactions.iter().filter(|record| window.contains(&record.timestamp));
            let groups = group(interactions, |record| record.interaction_type);
            let groups = groups.into_iter().map(|(kind, records)| InteractionGroup {
                kind,
                interactions: records.len() as u64,
                money: records.iter().map(|record| record.amount_minor).sum(),
                customers: records.iter().map(|record| record.customer_id).collect::<BTreeSet<_>>().len() as u64,
                negative: records.iter().filter(|record| record.sentiment == "negative").count() as u64,
            });
            Answer::Interactions(groups.collect())
        }
        Question::DashboardAgents => agents_answer(past, window),
        Question::LiveDashboard => {
            let groups = group(events(), |record| (record.channel, record.event_type)).into_iter();
            let groups = groups.map(|(key, records)| {
                let events = records.len() as u64;
                let succeeded = records.iter().filter(|record| record.success).count() as u64;
                let newest = records.iter().map(|record| record.timestamp).max().unwrap();
                LiveGroup { key, events: events..=events, succeeded: succeeded..=succeeded, newest: newest..=newest }
            });
            Answer::LiveEvents(groups.collect())
        }
        other => unreachable!("{other} has no window"),
    }
}

fn event_groups<'a, K: Ord>(
    events: impl Iterator<Item = &'a CommunicationEvent>,
    key: impl Fn(&CommunicationEvent) -> K,
) -> Vec<EventGroup<K>> {
    let groups = group(events, key).into_iter().map(|(key, records)| EventGroup {
        key,
        events: records.len() as u64,
        succeeded: records.iter().filter(|record| record.success).count() as u64,
        timing: timing(records.iter().map(|record| record.duration_ms)),
    });
    groups.collect()
}

fn agents_answer(past: &Past, window: &Range<chrono::DateTime<chrono::Utc>>) -> Answer {
    let metrics = past.metrics.iter().filter(|record| window.contains(&record.timestamp));
    let groups = group(metrics, |record| record.metric_name.clone());
    let highest = |records: &[&AgentMetric]| {
        let record = records.iter().max_by(|one, two| one.metric_value.total_cmp(&two.metric_value));
        record.map(|record| record.agent_id.clone()).into_iter().collect()
    };
    let groups = groups.into_iter().map(|(name, records)| MetricGroup {
        name,
        measurements: records.len() as u64,
        total: records.iter().map(|record| record.metric_value).sum(),
        agents: records.iter().map(|record| &record.agent_id).collect::<BTreeSet<_>>().len() as u64,
        highest: highest(&records),
    });
    Answer::Metrics(groups.collect())
}

fn group<'a, R, K: Ord>(records: impl Iterator<Item = &'a R>, key: impl Fn(&R) -> K) -> BTreeMap<K, Vec<&'a R>> {
    let mut groups = BTreeMap::<K, Vec<&R>>::new();
    for record in records {
        groups.entry(key(record)).or_default().push(record);
    }
    groups
}

/// Mean, and the smallest duration that 95 % do not exceed, as an exact percentile has it.
fn timing(durations: impl Iterator<Item = u32>) -> Timing {
    let mut durations: Vec<u32> = durations.collect();
    durations.sort_unstable();
    let sum: f64 = durations.iter().copied().map(f64::from).sum();
    let rank = (durations.len() as f64 * 0.95).ceil() as usize;
    Timing::measured(sum / durations.len() as f64, durations[rank.max(1) - 1] as f32)
}

#[test]
fn the_oracle_agrees_with_a_count_over_the_records() {
    let smoke = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    let scenario = Scenario { customers: 300, history: 700, communications: 1_500, ..smoke };
    let plan = Plan::new(&scenario, &Population::new(&scenario));
    let oracle = Oracle::new(plan.population(), &Question::ALL.iter().copied().collect());
    let pasts: Vec<Past> = (0..3).map(|tenant| past(plan.population(), tenant)).collect();
    let (mut non_empty, mut corruptions, mut not_found) = (0, 0, 0);
    for &question in Question::ALL {
        for probe in plan.probes(question).take(40) {
            let expected = oracle.expected(question, probe.tenant, &probe.key).unwrap();
            let right = answer(plan.population(), &pasts[probe.tenant], &probe);
            assert!(right.is(&expected), "{probe:?}: {right:?}, {expected:?}");
            for (column, wrong) in corrupted(&right) {
                assert!(!wrong.is(&expected), "{probe:?}: a wrong {column} must not count as correct");
                corruptions += 1;
            }
            if right == Answer::Customer(None) {
                let Key::Customer(index) = probe.key else { unreachable!("{probe:?}") };
                let inactive = plan.population().customer(probe.tenant, index);
                let found = Answer::Customer(Some(Box::new(inactive)));
                assert!(!found.is(&expected), "{probe:?}: an inactive customer must not be found");
                not_found += 1;
            }
            non_empty += u64::from(!matches!(right, Answer::Hits { total: 0, .. } | Answer::Rows(0)));
        }
    }
    assert!(non_empty > 300, "{non_empty} of 480 probes have something to find");
    assert!(corruptions > 2_000, "{corruptions}");
    assert!((1..12).contains(&not_found), "{not_found} of 40 addresses belong to inactive customers");
}
