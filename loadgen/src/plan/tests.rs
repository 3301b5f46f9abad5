//! The plan as others see it, and its right answers against a count over the records themselves.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use super::*;
use crate::scenario::Arrivals;

fn small() -> Scenario {
    let smoke = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    Scenario { customers: 300, history: 700, communications: 1_500, ..smoke }
}

fn plan_of(scenario: &Scenario) -> Plan {
    Plan::new(scenario, &Population::new(scenario))
}

#[test]
fn the_digest_is_the_same_on_one_thread_and_on_many() {
    let plan = plan_of(&small());
    let one = digest::digest(&plan, 1);
    assert_eq!(one.len(), 64);
    assert_eq!([2, 4, 9].map(|threads| digest::digest(&plan, threads)), [one.clone(), one.clone(), one.clone()]);
    assert_eq!(one, plan_of(&small()).digest());
}

#[test]
fn every_seed_and_every_size_changes_the_digest() {
    let scenarios = [
        small(),
        Scenario { seed: 1, ..small() },
        Scenario { key_seed: 1, ..small() },
        Scenario { communications: 1_501, ..small() },
        Scenario { history: 701, ..small() },
        Scenario { duration: Duration::from_secs(61), ..small() },
    ];
    let digests: HashSet<String> = scenarios.iter().map(|scenario| plan_of(scenario).digest()).collect();
    assert_eq!(digests.len(), scenarios.len());
}

#[test]
fn writes_are_everything_planned_in_order() {
    let plan = plan_of(&small());
    let (mut seen, mut counts) = (HashSet::new(), Totals::default());
    let mut last = Duration::ZERO;
    for write in plan.writes() {
        assert!(last <= write.at && write.at < small().duration);
        last = write.at;
        match write.record {
            Write::Communication(record) => {
                counts.communications += 1;
                assert!(seen.insert(record.id));
            }
            Write::Event(record) => {
                counts.events += 1;
                assert!(seen.contains(&record.metadata.communication_id) && seen.insert(record.event_id));
            }
            Write::Interaction(record) => {
                counts.interactions += 1;
                assert!(seen.contains(&record.communication_id) && seen.insert(record.interaction_id));
            }
            Write::Metric(_) => counts.metrics += 1,
        }
    }
    let totals = (0..3).map(|tenant| plan.totals(tenant)).fold(Totals::default(), |sum, one| Totals {
        communications: sum.communications + one.communications,
        events: sum.events + one.events,
        interactions: sum.interactions + one.interactions,
        metrics: sum.metrics + one.metrics,
    });
    assert_eq!((counts, counts.communications), (totals, 1_500));
}

#[test]
fn any_item_alone_is_the_item_in_the_stream() {
    let plan = plan_of(&small());
    let streamed: Vec<Planned<Write>> = plan.writes().collect();
    for (tenant, index) in [(0, 17), (1, 0), (2, 99)] {
        let has = |at, write: Write| streamed.contains(&Planned { at, tenant, record: write });
        let communication = plan.communication(tenant, index);
        assert!(has(communication.at, Write::Communication(communication.record)));
        assert!(plan.events(tenant, index).into_iter().all(|event| has(event.at, Write::Event(event.record))));
        let mut interactions = plan.interactions(tenant, index).into_iter();
        assert!(interactions.all(|interaction| has(interaction.at, Write::Interaction(interaction.record))));
        let metric = plan.metric(tenant, index);
        assert!(has(metric.at, Write::Metric(metric.record)));
    }
}

#[test]
fn a_record_says_the_simulated_time_at_which_it_is_produced() {
    let (scenario, plan) = (small(), plan_of(&small()));
    for write in plan.writes() {
        let timestamp = match write.record {
            Write::Communication(record) => record.created_at,
            Write::Event(record) => record.timestamp,
            Write::Interaction(record) => record.timestamp,
            Write::Metric(record) => record.timestamp,
        };
        let simulated = (timestamp - scenario.start).to_std().unwrap();
        let error = simulated.as_secs_f64() / scenario.compression() - write.at.as_secs_f64();
        assert!(error.abs() < 1e-6, "{error}");
    }
}

#[test]
fn sequence_numbers_go_on_where_the_past_ends() {
    let plan = plan_of(&small());
    for tenant in plan.population().tenants() {
        let seq = |index| plan.events(tenant.index, index).into_iter().map(|event| event.record.metadata.seq);
        let seqs = (0..tenant.communications).flat_map(seq);
        let last = plan.population().history_events(tenant.index, tenant.history - 1).pop().unwrap();
        let first = last.metadata.seq + 1;
        assert!(seqs.eq(first..first + plan.totals(tenant.index).events));
    }
}

#[test]
fn probes_keep_their_rate_and_stay_in_the_drive() {
    for arrivals in [Arrivals::Poisson, Arrivals::Constant] {
        let scenario = Scenario { arrivals, duration: Duration::from_mins(10), ..small() };
        let plan = plan_of(&scenario);
        for &question in Question::ALL {
            let expected = scenario.probes[&question] * 600.0;
            let starts: Vec<Duration> = plan.probes(question).map(|probe| probe.at).collect();
            assert!(starts.is_sorted() && starts.iter().all(|&at| at < scenario.duration));
            assert!((starts.len() as f64 - expected).abs() < 5.0 * expected.sqrt(), "{question} {}", starts.len());
        }
    }
}

#[test]
fn another_key_seed_asks_about_others_and_leaves_the_data() {
    let (one, two) = (plan_of(&small()), plan_of(&Scenario { key_seed: 8, ..small() }));
    assert_ne!(one.probes(Question::Timeline).next(), two.probes(Question::Timeline).next());
    assert_ne!(one.probes(Question::Timeline).next(), one.warm_up(Question::Timeline).next());
    assert_eq!(one.writes().next(), two.writes().next());
}

/// Everything in the past, as a store would hold it.
struct Past {
    communications: Vec<Communication>,
    events: Vec<CommunicationEvent>,
    interactions: Vec<CustomerInteraction>,
    metrics: Vec<AgentMetric>,
}

fn past(population: &Population, tenant: usize) -> Past {
    let owner = &population.tenants()[tenant];
    Past {
        communications: (0..owner.history).map(|i| population.history(tenant, i)).collect(),
        events: (0..owner.history).flat_map(|i| population.history_events(tenant, i)).collect(),
        interactions: (0..owner.history).flat_map(|i| population.history_interactions(tenant, i)).collect(),
        metrics: (0..owner.history_metrics).map(|i| population.history_metric(tenant, i)).collect(),
    }
}

fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
    part.as_object().unwrap().iter().all(|(key, value)| whole.get(key) == Some(value))
}

/// The slow and obvious way to the right answer.
fn answer(population: &Population, past: &Past, probe: &Probe) -> Expected {
    let tenant = probe.tenant;
    match &probe.key {
        Key::Customer(index) if probe.question == Question::Timeline => {
            let id = population.customer_id(tenant, *index);
            let mut found: Vec<_> = past.communications.iter().filter(|record| record.customer_id == id).collect();
            found.sort_by_key(|record| std::cmp::Reverse(record.created_at));
            Expected::Timeline(found.iter().take(Known::TIMELINE).map(|record| record.id).collect())
        }
        Key::Customer(index) => {
            let customer = population.customer(tenant, *index);
            Expected::Customer { id: customer.id, email: customer.email }
        }
        Key::Campaign(index) => {
            let id = Some(population.campaign_id(tenant, *index));
            Expected::Statuses(tally(
                past.communications.iter().filter(|record| record.campaign_id == id).map(|record| record.status),
            ))
        }
        Key::Profile(document) => {
            let people = (0..population.tenants()[tenant].customers).map(|i| population.customer(tenant, i));
            Expected::Rows(people.filter(|customer| contains(&customer.profile_data, document)).count() as u64)
        }
        Key::Content(document) => {
            let content = |record: &&Communication| contains(&serde_json::to_value(&record.content).unwrap(), document);
            Expected::Rows(past.communications.iter().filter(content).count() as u64)
        }
        Key::Search { word, language, channel, from, to } => {
            let hit = |record: &&Communication| {
                let text = format!("{} {}", record.content.subject, record.content.body).to_lowercase();
                text.split(|c: char| !c.is_alphanumeric()).any(|token| token == *word)
                    && record.content.language == *language
                    && record.channel == *channel
                    && (*from..*to).contains(&record.created_at)
            };
            Expected::Hits(past.communications.iter().filter(hit).count() as u64)
        }
        Key::Window { from, to } => windowed(past, probe.question, &(*from..*to)),
    }
}

fn windowed(past: &Past, question: Question, window: &Range<chrono::DateTime<chrono::Utc>>) -> Expected {
    let events = || past.events.iter().filter(|record| window.contains(&record.timestamp));
    match question {
        Question::DashboardEvents => {
            let tally = tally(events().map(|record| (record.channel, record.event_type)));
            Expected::Events(tally.into_iter().map(|((channel, event), count)| (channel, event, count)).collect())
        }
        Question::DashboardCampaigns => {
            let mut sums = BTreeMap::<_, (u64, u64)>::new();
            for record in events() {
                let sum = sums.entry(record.campaign_id).or_default();
                *sum = (sum.0 + 1, sum.1 + u64::from(record.success));
            }
            Expected::Campaigns(sums.into_iter().map(|(id, (all, good))| (id, all, good)).collect())
        }
        Question::DashboardInteractions => {
            let mut sums = BTreeMap::<_, (u64, i64)>::new();
            for record in past.interactions.iter().filter(|record| window.contains(&record.timestamp)) {
                let sum = sums.entry(record.interaction_type).or_default();
                *sum = (sum.0 + 1, sum.1 + record.amount_minor);
            }
            Expected::Interactions(sums.into_iter().map(|(kind, (count, money))| (kind, count, money)).collect())
        }
        _ => {
            let of = |name| {
                past.metrics
                    .iter()
                    .filter(move |record| record.metric_name == name && window.contains(&record.timestamp))
            };
            let names = crate::population::METRIC_NAMES;
            Expected::Metrics(
                names
                    .map(|name| (name, of(name).count() as u64, of(name).map(|record| record.metric_value).sum()))
                    .to_vec(),
            )
        }
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
fn what_is_known_is_what_a_count_over_the_records_finds() {
    let plan = plan_of(&small());
    let known = Known::new(&plan);
    let pasts: Vec<Past> = (0..3).map(|tenant| past(plan.population(), tenant)).collect();
    let mut found = 0;
    for &question in Question::ALL {
        for probe in plan.probes(question).take(40) {
            let expected = known.expected(&probe);
            assert_eq!(expected, answer(plan.population(), &pasts[probe.tenant], &probe), "{probe:?}");
            found += u64::from(!matches!(expected, Expected::Hits(0) | Expected::Rows(0)));
        }
    }
    assert!(found > 300, "{found} of 480 probes have something to find");
}
