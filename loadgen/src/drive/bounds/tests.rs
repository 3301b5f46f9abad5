//! Answers within the bounds are right, whatever the stores have by then; answers outside are wrong.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use sluice_schemas::records::{Communication, CommunicationEvent};

use super::*;
use crate::population::Population;
use crate::question::oracle::Oracle;
use crate::scenario::Scenario;

/// A plan and its oracle; a communication is written every few hundred milliseconds.
static PLAN: LazyLock<(Arc<Plan>, Oracle)> = LazyLock::new(|| {
    let text = include_str!("../../../../scenarios/smoke.toml");
    let text = text.replace("live_timeline = \"4/s\"", "live_timeline = \"9/s\"");
    let text = text.replace("live_dashboard = \"0.7/s\"", "live_dashboard = \"3/s\"");
    let smoke = Scenario::parse(&text, "smoke.toml").unwrap();
    let scenario = Scenario { customers: 60, history: 700, communications: 900, ..smoke };
    let plan = Arc::new(Plan::new(&scenario, &Population::new(&scenario)));
    let oracle = Oracle::new(plan.population(), &scenario.questions_asked());
    (plan, oracle)
});

fn probe(question: Question, number: usize) -> Probe {
    PLAN.0.probes(question).nth(number).unwrap()
}

fn expected(bounds: &Bounds, probe: &Probe, asked: Duration, answered: Duration) -> Arc<Answer> {
    bounds.widen(PLAN.1.expected(probe.question, probe.tenant, &probe.key).unwrap(), probe, asked, answered)
}

/// Records of a tenant, each with its start.
type Timed<T> = Vec<(Duration, T)>;

/// The driven communications and events of each tenant.
static RECORDS: LazyLock<Vec<(Timed<Communication>, Timed<CommunicationEvent>)>> = LazyLock::new(|| {
    let plan = &PLAN.0;
    let of_tenant = |tenant: &crate::population::Tenant| {
        let (tenant, all) = (tenant.index, 0..tenant.driven_communications);
        let communications = all.clone().map(|index| plan.communication(tenant, index));
        let events = all.flat_map(|index| plan.events(tenant, index));
        (
            communications.map(|planned| (planned.at, planned.record)).collect(),
            events.map(|planned| (planned.at, planned.record)).collect(),
        )
    };
    plan.population().tenants().iter().map(of_tenant).collect()
});

/// Commits the communications that start before an instant, in groups of three.
fn commit(bounds: &Bounds, tenant: usize, before: Duration) {
    let started: Vec<_> = RECORDS[tenant].0.iter().filter(|(at, _)| *at < before).collect();
    for (number, group) in (0..).zip(started.chunks(3)) {
        bounds.committed(tenant, (number, group.last().unwrap().1.created_at), before);
    }
}

/// The timeline of a store that has the past and some of the driven communications of a customer.
fn timeline(probe: &Probe, has: impl Fn(Duration, usize) -> bool) -> Vec<TimelineEntry> {
    let Key::Customer(customer) = probe.key else { unreachable!("{probe:?}") };
    let id = PLAN.0.population().customer_id(probe.tenant, customer);
    let settled = PLAN.1.expected(probe.question, probe.tenant, &probe.key).unwrap();
    let Answer::LiveTimeline { entries, .. } = &*settled else { unreachable!("{settled:?}") };
    let driven = RECORDS[probe.tenant].0.iter().filter(|(_, record)| record.customer_id == id);
    let driven = driven.enumerate().filter(|(place, (at, _))| has(*at, *place));
    let mut entries: Vec<_> =
        entries.iter().cloned().chain(driven.map(|(_, (_, record))| TimelineEntry::from(record.clone()))).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.place()));
    entries.truncate(50);
    entries
}

fn live(entries: Vec<TimelineEntry>) -> Answer {
    Answer::LiveTimeline { entries, required: BTreeSet::new() }
}

/// The dashboard of a store that has some of the driven events.
fn dashboard(probe: &Probe, has: impl Fn(Duration, usize) -> bool) -> Vec<LiveGroup> {
    let settled = PLAN.1.expected(probe.question, probe.tenant, &probe.key).unwrap();
    let Answer::LiveEvents(groups) = &*settled else { unreachable!("{settled:?}") };
    let mut groups = groups.clone();
    for (_, (_, record)) in RECORDS[probe.tenant].1.iter().enumerate().filter(|(place, (at, _))| has(*at, *place)) {
        let (key, one, timestamp) = ((record.channel, record.event_type), u64::from(record.success), record.timestamp);
        match groups.iter_mut().find(|group| group.key == key) {
            Some(group) => {
                let (events, succeeded) = (group.events.end() + 1, group.succeeded.end() + one);
                let newest = timestamp.max(*group.newest.end());
                (group.events, group.succeeded, group.newest) =
                    (events..=events, succeeded..=succeeded, newest..=newest);
            }
            None => {
                groups.push(LiveGroup { key, events: 1..=1, succeeded: one..=one, newest: timestamp..=timestamp });
            }
        }
    }
    groups.sort_by_key(|group| group.key);
    groups
}

proptest! {
    #[test]
    fn a_timeline_is_right_exactly_if_it_is_within_its_bounds(number in 0_usize..400, committed in 0_u64..70, wait in 0_u64..3_000, chance in any::<u64>()) {
        let probe = probe(Question::LiveTimeline, number);
        let asked = Duration::from_secs(committed);
        let answered = asked + Duration::from_millis(wait);
        let bounds = Bounds::new(&PLAN.0, Shard::WHOLE);
        commit(&bounds, probe.tenant, asked);
        let expected = expected(&bounds, &probe, asked, answered);
        let some = timeline(&probe, |at, place| at < asked || at <= answered && chance >> (place % 64) & 1 == 1);
        prop_assert!(live(some).is(&expected), "what is committed, and some of what is on its way");
        let Answer::LiveTimeline { required, .. } = &*expected else { unreachable!("{expected:?}") };
        let all = timeline(&probe, |at, _| at <= answered);
        for missing in 0..all.len() {
            let mut fewer = all.clone();
            let is_required = required.contains(&fewer.remove(missing).id);
            let is_full = all.len() == 50;
            prop_assert!(is_full || live(fewer).is(&expected) != is_required, "without entry {missing}");
        }
        let ahead = timeline(&probe, |at, _| at <= answered + Duration::from_secs(20));
        prop_assert_eq!(live(ahead.clone()).is(&expected), ahead == all, "nothing is there before it is sent");
    }

    #[test]
    fn a_dashboard_is_right_if_it_is_within_its_bounds(number in 0_usize..150, asked in 0_u64..70, wait in 0_u64..3_000, chance in any::<u64>()) {
        let probe = probe(Question::LiveDashboard, number);
        let asked = Duration::from_secs(asked);
        let answered = asked + Duration::from_millis(wait);
        let bounds = Bounds::new(&PLAN.0, Shard::WHOLE);
        let some = dashboard(&probe, |at, place| at <= answered && chance >> (place % 64) & 1 == 1);
        prop_assert!(Answer::LiveEvents(some.clone()).is(&expected(&bounds, &probe, asked, answered)));
        prop_assert!(bounds.seen(&probe, &Answer::LiveEvents(some.clone()), (asked, answered)));
        let later = expected(&bounds, &probe, answered, answered);
        prop_assert!(Answer::LiveEvents(some.clone()).is(&later), "as much as before");
        let all = dashboard(&probe, |at, _| at <= answered);
        prop_assert!(Answer::LiveEvents(all.clone()).is(&later), "more than before");
        let settled = dashboard(&probe, |_, _| false);
        prop_assert_eq!(Answer::LiveEvents(settled.clone()).is(&later), settled == some, "less than before");
        let earlier = expected(&bounds, &probe, asked, answered);
        prop_assert!(wait == 0 || Answer::LiveEvents(settled).is(&earlier), "asked before that was seen");
    }
}

#[test]
fn a_dashboard_that_shows_an_event_as_failed_is_wrong() {
    let probe = probe(Question::LiveDashboard, 3);
    let bounds = Bounds::new(&PLAN.0, Shard::WHOLE);
    let now = Duration::from_secs(40);
    let mut groups = dashboard(&probe, |at, _| at <= now);
    let expected = expected(&bounds, &probe, now, now);
    assert!(Answer::LiveEvents(groups.clone()).is(&expected));
    let group = groups.iter_mut().find(|group| *group.succeeded.end() > 1).expect("a group with successes");
    let less = group.succeeded.end() - 1;
    group.succeeded = less..=less;
    assert!(!Answer::LiveEvents(groups).is(&expected));
}

#[test]
fn a_dashboard_that_is_ahead_of_the_writes_is_wrong() {
    let probe = probe(Question::LiveDashboard, 3);
    let bounds = Bounds::new(&PLAN.0, Shard::WHOLE);
    let answered = Duration::from_secs(40);
    let expected = expected(&bounds, &probe, answered, answered);
    assert!(Answer::LiveEvents(dashboard(&probe, |at, _| at <= answered)).is(&expected));
    let ahead = dashboard(&probe, |at, _| at <= answered + Duration::from_secs(5));
    assert!(!Answer::LiveEvents(ahead).is(&expected));
    // One row twice, of a group that has all rows.
    let mut twice = dashboard(&probe, |at, _| at <= answered + Duration::from_secs(1));
    let Answer::LiveEvents(most) = &*expected else { unreachable!("{expected:?}") };
    twice[0].events = most[0].events.end() + 1..=most[0].events.end() + 1;
    assert!(!Answer::LiveEvents(twice).is(&expected));
}

#[test]
fn a_shard_requires_its_own_records_and_allows_those_of_all() {
    let (first, second): (Shard, Shard) = ("1/2".parse().unwrap(), "2/2".parse().unwrap());
    let bounds = Bounds::new(&PLAN.0, first);
    let (mut own, mut others) = (0, 0);
    for number in 0..100 {
        let probe = probe(Question::LiveTimeline, number);
        let Key::Customer(customer) = probe.key else { unreachable!("{probe:?}") };
        let now = Duration::from_mins(1);
        commit(&bounds, probe.tenant, now);
        let Answer::LiveTimeline { entries, required } = &*expected(&bounds, &probe, now, now) else { unreachable!() };
        for index in PLAN.0.population().customer_communications(Era::Drive, probe.tenant, customer) {
            let planned = PLAN.0.communication(probe.tenant, index);
            assert_eq!(entries.iter().any(|entry| entry.id == planned.record.id), planned.at <= now + CLOCK_SKEW);
            let is_required = required.contains(&planned.record.id);
            assert!(!is_required || first.writes(probe.tenant, index));
            own += u64::from(is_required);
            others += u64::from(second.writes(probe.tenant, index) && planned.at < now);
        }
    }
    assert!(own > 50 && others > 50, "{own}, {others}");
}
