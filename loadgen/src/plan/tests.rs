//! The properties that the rest of the program relies on.

use std::collections::HashSet;

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
    let sequential = digest::digest(&plan, 1);
    assert_eq!(sequential.len(), 64);
    assert_eq!(
        [2, 4, 9].map(|threads| digest::digest(&plan, threads)),
        [sequential.clone(), sequential.clone(), sequential.clone()]
    );
    assert_eq!(sequential, plan_of(&small()).digest());
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
fn writes_are_complete_and_in_order() {
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
fn single_items_equal_those_of_the_stream() {
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
fn timestamps_are_the_simulated_time_of_the_intended_start() {
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
fn sequence_numbers_continue_after_the_past() {
    let plan = plan_of(&small());
    for tenant in plan.population().tenants() {
        let seq = |index| plan.events(tenant.index, index).into_iter().map(|event| event.record.metadata.seq);
        let seqs = (0..tenant.driven_communications).flat_map(seq);
        let last = plan.population().past_events(tenant.index, tenant.past_communications - 1).pop().unwrap();
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
fn another_key_seed_changes_the_keys_and_not_the_data() {
    let (one, two) = (plan_of(&small()), plan_of(&Scenario { key_seed: 8, ..small() }));
    assert_ne!(one.probes(Question::Timeline).next(), two.probes(Question::Timeline).next());
    assert_ne!(one.probes(Question::Timeline).next(), one.warm_up_probes(Question::Timeline).next());
    assert_eq!(one.writes().next(), two.writes().next());
}
