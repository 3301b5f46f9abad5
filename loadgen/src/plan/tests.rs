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
    let sequential = digest::digests(&plan, 1);
    assert_eq!([sequential.plan.len(), sequential.population.len()], [64; 2]);
    assert_ne!(sequential.plan, sequential.population);
    assert_eq!(
        [2, 4, 9].map(|threads| digest::digests(&plan, threads)),
        [sequential.clone(), sequential.clone(), sequential.clone()]
    );
    assert_eq!(sequential, plan_of(&small()).digests());
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
    let digests: HashSet<String> = scenarios.iter().map(|scenario| plan_of(scenario).digests().plan).collect();
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

/// A scenario with every kind of stage: a ramp, a pause of the writes, a flood of one tenant.
fn staged() -> Scenario {
    let stages = "
        [[stage]]
        for = \"20 s\"
        rate = \"1x to 3x\"
        [[stage]]
        for = \"15 s\"
        writes = \"0x\"
        [[stage]]
        for = \"40 s\"
        rate = \"2x\"
        [[stage]]
        tenant = \"smallest\"
        from = \"40 s\"
        for = \"10 s\"
        writes = \"8x\"
        probes = \"5x\"
        ";
    let text = include_str!("../../../scenarios/smoke.toml").replace("[probes]\n", &format!("{stages}\n[probes]\n"));
    let smoke = Scenario::parse(&text, "staged.toml").unwrap();
    Scenario { customers: 300, history: 700, communications: 3_000, ..smoke }
}

/// Communications of a tenant within a part of the drive, and the number that its rate predicts for a steady pace.
fn communications_in(plan: &Plan, tenant: usize, seconds: std::ops::Range<f64>) -> (f64, f64) {
    let owner = &plan.population().tenants()[tenant];
    let factors = plan.scenario.write_factors(tenant as u32);
    let share = (factors.total_before(seconds.end) - factors.total_before(seconds.start)) / factors.total();
    let created = (0..owner.driven_communications).map(|index| plan.communication(tenant, index).at.as_secs_f64());
    let within = created.filter(|at| seconds.contains(at)).count();
    (within as f64, share * owner.driven_communications as f64)
}

#[test]
fn writes_of_each_stage_are_the_integral_of_its_rate() {
    let scenario = Scenario { pace: crate::scenario::Pace::Steady, ..staged() };
    let plan = plan_of(&scenario);
    for tenant in 0..3 {
        for stage in [0.0..10.0, 10.0..20.0, 20.0..35.0, 35.0..40.0, 40.0..50.0, 50.0..75.0] {
            let (written, expected) = communications_in(&plan, tenant, stage.clone());
            assert!((written - expected).abs() <= 2.0, "tenant {tenant}, {stage:?}: {written} of {expected}");
        }
    }
    let written = |tenant: usize| plan.population().tenants()[tenant].driven_communications as f64;
    // 2 · 20 + 0 · 15 + 2 · 40 seconds at 1x; the flood adds 7 · 2 · 10.
    assert!((written(0) / (1_637.0 * 120.0 / 75.0) - 1.0).abs() < 0.01, "{}", written(0));
    assert!((written(2) / (546.0 * 260.0 / 75.0) - 1.0).abs() < 0.02, "{}", written(2));
}

#[test]
fn a_staged_plan_is_complete_in_order_and_independent_of_threads() {
    let plan = plan_of(&staged());
    let (mut last, mut count) = (Duration::ZERO, 0);
    for write in plan.writes() {
        assert!(last <= write.at && write.at < staged().duration, "{last:?} {:?}", write.at);
        (last, count) = (write.at, count + 1);
    }
    assert_eq!(count, plan.all_totals().all());
    assert_eq!(digest::digests(&plan, 1), digest::digests(&plan, 7));
    let others = [
        small(),
        Scenario { pace: crate::scenario::Pace::Steady, ..staged() },
        Scenario { by_calendar: Question::ALL.iter().copied().collect(), ..staged() },
    ];
    let mut digests: HashSet<String> = others.iter().map(|scenario| plan_of(scenario).digests().plan).collect();
    digests.insert(plan.digests().plan);
    assert_eq!(digests.len(), 4, "the digest covers the shape");
}

#[test]
fn questions_follow_the_stages_and_their_tenant() {
    for arrivals in [Arrivals::Poisson, Arrivals::Constant] {
        let mut scenario = Scenario { arrivals, ..staged() };
        scenario.probes = [(Question::Search, 400.0)].into();
        let plan = plan_of(&scenario);
        let probes: Vec<Probe> = plan.probes(Question::Search).collect();
        assert!(probes.is_sorted_by_key(|probe| probe.at));
        let expected = plan.expected_probes(Question::Search);
        let is_near = |count: usize, expected: f64| (count as f64 - expected).abs() < 5.0 * expected.sqrt() + 1.0;
        assert!(is_near(probes.len(), expected), "{} of {expected}", probes.len());
        let mean = scenario.mean_rate(Question::Search, None) * 75.0;
        assert!((mean - expected).abs() < 1.0, "{mean} {expected}");
        let within = |from: u64, to: u64, tenant: Option<usize>| {
            let time = Duration::from_secs(from)..Duration::from_secs(to);
            probes
                .iter()
                .filter(|probe| time.contains(&probe.at) && tenant.is_none_or(|one| one == probe.tenant))
                .count()
        };
        assert!(is_near(within(0, 10, None), 400.0 * 15.0), "a ramp from 1x to 2x");
        assert!(is_near(within(20, 35, None), 400.0 * 15.0), "only the writes pause");
        let smallest = plan.population().tenants()[2].customers as f64 / 300.0;
        assert!(is_near(within(40, 50, Some(2)), 400.0 * 2.0 * 5.0 * smallest * 10.0));
        assert!(is_near(within(40, 50, None), 400.0 * 2.0 * (1.0 + 4.0 * smallest) * 10.0));
    }
}

#[test]
fn questions_that_follow_the_calendar_are_asked_in_office_hours() {
    let mut scenario = Scenario { by_calendar: [Question::Search].into(), ..small() };
    scenario.probes = [(Question::Search, 400.0), (Question::Timeline, 400.0)].into();
    let plan = plan_of(&scenario);
    let by_hour = |question: Question, tenant: usize| {
        let mut hours = [0_u64; 24];
        for probe in plan.probes(question).filter(|probe| probe.tenant == tenant) {
            hours[(probe.at.as_secs_f64() / 75.0 * 24.0) as usize] += 1;
        }
        hours
    };
    // Tenant 0 is in Europe, tenant 1 in the Americas: 12:00 in UTC is 13:00 and 07:00, when the office is open and not yet open.
    let (europe, americas) = (by_hour(Question::Search, 0), by_hour(Question::Search, 1));
    assert!(europe[12] > 3 * europe[2] && americas[13] > 2 * americas[12], "{europe:?} {americas:?}");
    let steady = by_hour(Question::Timeline, 0);
    assert!(steady[12] < 2 * steady[2], "{steady:?}");
    let count = plan.probes(Question::Search).count() as f64;
    assert!((count - 30_000.0).abs() < 5.0 * 30_000_f64.sqrt(), "the calendar does not change the number: {count}");
}

#[test]
fn questions_that_follow_the_calendar_are_asked_in_a_pause_of_the_writes_too() {
    let pause = "[[stage]]\nfor = \"30 s\"\nwrites = \"0x\"\n[[stage]]\nfor = \"45 s\"\nwrites = \"1x\"\n";
    for stages in [pause, "[[stage]]\nfor = \"45 s\"\nwrites = \"1x\"\n[[stage]]\nfor = \"30 s\"\nwrites = \"0x\"\n"] {
        let text =
            include_str!("../../../scenarios/smoke.toml").replace("[probes]\n", &format!("{stages}\n[probes]\n"));
        let mut scenario = Scenario::parse(&text, "pause.toml").unwrap();
        scenario.probes = [(Question::Search, 400.0)].into();
        scenario.by_calendar = [Question::Search].into();
        let plan = plan_of(&Scenario { customers: 300, history: 700, communications: 1_500, ..scenario });
        let first = stages == pause;
        let paused = if first { 0.0..30.0 } else { 45.0..75.0 };
        let asked = plan.probes(Question::Search).filter(|probe| paused.contains(&probe.at.as_secs_f64())).count();
        assert!(asked > 500, "{asked} in {paused:?}");
    }
}

#[test]
fn a_steady_pace_writes_as_much_at_night_as_at_noon() {
    let steady = plan_of(&Scenario { pace: crate::scenario::Pace::Steady, ..small() });
    let by_calendar = plan_of(&small());
    let spread = |plan: &Plan| {
        let mut parts = [0_i64; 10];
        for index in 0..plan.population().tenants()[0].driven_communications {
            parts[(plan.communication(0, index).at.as_secs_f64() / 7.5) as usize] += 1;
        }
        parts.iter().max().unwrap() - parts.iter().min().unwrap()
    };
    assert!(spread(&steady) <= 3 && spread(&by_calendar) > 50, "{} {}", spread(&steady), spread(&by_calendar));
}

#[test]
fn a_users_steps_are_a_function_of_the_key_seed() {
    let users = crate::scenario::Users {
        name: "agents".to_owned(),
        count: 3,
        think_time: Duration::from_secs(2),
        questions: [(Question::Search, 1), (Question::Timeline, 3)].into(),
    };
    let scenario = Scenario { users: vec![users.clone()], ..small() };
    let plan = plan_of(&scenario);
    let steps: Vec<Step> = plan.steps(0, 1).take(4_000).collect();
    assert_eq!(steps, plan_of(&scenario).steps(0, 1).take(4_000).collect::<Vec<_>>());
    assert_ne!(steps[0], plan.steps(0, 2).next().unwrap());
    let thought = steps.iter().map(|step| step.think.as_secs_f64()).sum::<f64>() / 4_000.0;
    let searched = steps.iter().filter(|step| step.question == Question::Search).count();
    assert!((thought - 2.0).abs() < 0.2 && (850..1_150).contains(&searched), "{thought} {searched}");
    let more = Scenario { users: vec![crate::scenario::Users { count: 4, ..users }], ..small() };
    let digests: HashSet<String> = [small(), scenario, more].iter().map(|one| plan_of(one).digests().plan).collect();
    assert_eq!(digests.len(), 3, "the digest covers the users");
}

#[test]
fn a_warm_up_that_writes_comes_before_the_drive_at_the_same_rate() {
    let scenario = Scenario { warm_up_writes: true, pace: crate::scenario::Pace::Steady, ..staged() };
    let plan = plan_of(&scenario);
    let lead = scenario.warm_up.as_secs_f64();
    assert!((lead - 30.0).abs() < 1e-9);
    for tenant in 0..3 {
        let (written, expected) = communications_in(&plan, tenant, 0.0..lead);
        let owner = &plan.population().tenants()[tenant];
        let without = &plan_of(&Scenario { warm_up_writes: false, ..scenario.clone() });
        let driven = without.population().tenants()[tenant].driven_communications as f64;
        assert!((written - expected).abs() <= 2.0, "{written} of {expected}");
        assert!(
            (owner.driven_communications as f64 - written - driven).abs() <= 2.0,
            "what the drive writes is the same"
        );
    }
    let last = plan.writes().last().unwrap().at;
    assert!(last < scenario.lead() + scenario.duration && last > scenario.duration);
}

/// Identities of everything that a plan writes, with the instants of its first and last record.
fn written(plan: &Plan) -> (HashSet<String>, Vec<DateTime<Utc>>) {
    let (mut identities, mut instants) = (HashSet::new(), Vec::new());
    for write in plan.writes() {
        let (identity, instant) = match write.record {
            Write::Communication(record) => (record.id.to_string(), record.created_at),
            Write::Event(record) => (record.event_id.to_string(), record.timestamp),
            Write::Interaction(record) => (record.interaction_id.to_string(), record.timestamp),
            Write::Metric(record) => {
                (format!("{} {} {}", record.agent_id, record.metric_name, record.timestamp), record.timestamp)
            }
        };
        assert!(identities.insert(identity));
        instants.push(instant);
    }
    (identities, instants)
}

#[test]
fn trials_share_the_past_and_no_record() {
    let (scenario, first) = (small(), plan_of(&small()));
    let plans = [first.clone(), first.of_trial(1, &scenario), first.of_trial(2, &scenario.at_rate(2.0))];
    let all: Vec<_> = plans.iter().map(written).collect();
    for (number, (identities, instants)) in all.iter().enumerate() {
        let start = scenario.start + scenario.span * number as u32;
        assert!(instants.iter().all(|instant| (start..start + scenario.span).contains(instant)), "trial {number}");
        assert!(all[..number].iter().all(|(others, _)| others.is_disjoint(identities)), "trial {number}");
        assert_eq!(plans[number].all_totals().all(), identities.len() as u64);
    }
    let past = |plan: &Plan| {
        let population = plan.population();
        let of_tenant = |tenant: usize| {
            (0..population.tenants()[tenant].past_communications)
                .map(move |index| (population.past_communication(tenant, index), population.past_events(tenant, index)))
        };
        (0..3).flat_map(of_tenant).collect::<Vec<_>>()
    };
    assert_eq!(past(&plans[0]), past(&plans[1]));
    assert_eq!(past(&plans[0]), past(&plans[2]), "at another rate");
    let keys = |plan: &Plan| plan.probes(Question::LookupById).map(|probe| probe.at).collect::<Vec<_>>();
    assert_ne!(keys(&plans[0]), keys(&plans[1]));
    assert_eq!(plans[1].digests(), first.of_trial(1, &scenario).digests());
}

#[test]
fn twice_the_rate_doubles_what_a_trial_writes_and_asks() {
    let (scenario, first) = (small(), plan_of(&small()));
    let doubled = first.of_trial(1, &scenario.at_rate(2.0));
    let [once, twice] = [&first, &doubled].map(Plan::all_totals);
    assert_eq!((twice.communications, twice.metrics), (2 * once.communications, once.metrics));
    let [once, twice] = [&first, &doubled].map(|plan| plan.expected_probes(Question::Search));
    assert!((twice - 2.0 * once).abs() < 1e-6);
}

#[test]
fn an_estimate_is_exact_for_few_and_close_for_many() {
    let scenario = small();
    let population = Population::new(&scenario);
    let (counted, uncounted) =
        (Plan::new(&scenario, &population), Plan::new(&scenario, &Population::uncounted(&scenario)));
    let exact = counted.all_totals();
    assert_eq!(uncounted.estimated_totals(Era::Drive, 1), exact);
    let past: u64 = (0..population.tenants().len()).map(|tenant| population.event_count(Era::Past, tenant)).sum();
    assert_eq!(uncounted.estimated_totals(Era::Past, 1).events, past);
    let estimate = uncounted.estimated_totals(Era::Drive, 10);
    assert_eq!((estimate.communications, estimate.metrics), (exact.communications, exact.metrics));
    let (of, events) = (exact.events as f64, estimate.events as f64);
    assert!((events - of).abs() < 0.1 * of && estimate.events != exact.events, "{estimate:?} {exact:?}");
}
