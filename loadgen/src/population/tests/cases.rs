//! Cases obey the rules of their campaigns, and stop when the customer promises or pays.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use sluice_schemas::records::{Campaign, Communication, InteractionType};

use super::small;
use crate::plan::Plan;
use crate::population::{Population, Tenant};
use crate::scenario::Scenario;

const DAY_MS: i64 = 86_400_000;

/// A message that was sent, and when the customer first promised or paid in answer to it: milliseconds since the start of
/// the past.
#[derive(Debug, Clone)]
struct Sent {
    communication: Communication,
    at: i64,
    stops_at: Option<i64>,
}

/// The messages of each case of a tenant, as records show them.
fn cases(plan: &Plan, tenant: &Tenant) -> BTreeMap<u64, Vec<Sent>> {
    let population = plan.population();
    let start = population.past().start.timestamp_millis();
    let is_stop = |kind| matches!(kind, InteractionType::Promise | InteractionType::Payment);
    let past = (0..tenant.past_communications).map(|index| {
        let interactions = population.past_interactions(tenant.index, index);
        (population.past_communication(tenant.index, index), interactions)
    });
    let driven = (0..tenant.driven_communications).map(|index| {
        let interactions = plan.interactions(tenant.index, index).into_iter().map(|planned| planned.record);
        (plan.communication(tenant.index, index).record, interactions.collect())
    });
    let mut cases = BTreeMap::<u64, Vec<Sent>>::new();
    for (communication, interactions) in past.chain(driven) {
        let stops = interactions.iter().filter(|interaction| is_stop(interaction.interaction_type));
        let stops_at = stops.map(|interaction| interaction.timestamp.timestamp_millis() - start).min();
        let Some(case) = communication.metadata["case"].as_u64() else {
            assert_eq!(communication.campaign_id, None, "a campaign has only cases");
            continue;
        };
        let at = communication.created_at.timestamp_millis() - start;
        cases.entry(case).or_default().push(Sent { communication, at, stops_at });
    }
    cases
}

/// What is wrong with the messages of a case, which are in the order in which they were sent. `end` is the end of the
/// schedule.
fn violation(campaign: &Campaign, messages: &[Sent], end: i64) -> Option<&'static str> {
    let rule = campaign.escalation_rules["steps"].as_array().unwrap();
    let first_day = messages[0].at / DAY_MS;
    let mut stop = i64::MAX;
    for (step, message) in messages.iter().enumerate() {
        let communication = &message.communication;
        let Some(expected) = rule.get(step) else { return Some("a message too many") };
        if communication.metadata["step"] != step {
            return Some("out of order");
        }
        if expected["channel"] != communication.channel.as_str()
            || !communication.content.template.starts_with(expected["template"].as_str().unwrap())
        {
            return Some("another message than the rule's");
        }
        if message.at / DAY_MS - first_day != expected["after_days"].as_i64().unwrap() {
            return Some("on another day than the rule's");
        }
        if (communication.customer_id, communication.campaign_id)
            != (messages[0].communication.customer_id, Some(campaign.id))
        {
            return Some("to another customer");
        }
        if message.at >= stop {
            return Some("after a promise or a payment");
        }
        stop = stop.min(message.stops_at.unwrap_or(i64::MAX));
    }
    let next = rule.get(messages.len()).map(|step| first_day + step["after_days"].as_i64().unwrap());
    let is_due = next.is_some_and(|day| (day + 1) * DAY_MS <= end.min(stop));
    is_due.then_some("not sent although nothing stopped it")
}

fn week() -> Scenario {
    Scenario { span: Duration::from_hours(7 * 24), history: 1_500, communications: 1_000, ..small() }
}

fn plan(scenario: &Scenario) -> Plan {
    Plan::new(scenario, &Population::new(scenario))
}

fn end_of(scenario: &Scenario) -> i64 {
    (scenario.history_span + scenario.span).as_millis() as i64
}

fn campaign(plan: &Plan, tenant: &Tenant, messages: &[Sent]) -> Campaign {
    let id = messages[0].communication.campaign_id;
    let campaigns = (0..tenant.campaigns).map(|index| plan.population().campaign(tenant.index, index));
    campaigns.into_iter().find(|campaign| Some(campaign.id) == id).expect("a campaign of the tenant")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_case_follows_its_rule_until_it_is_stopped(seed in any::<u64>()) {
        let scenario = Scenario { seed, ..week() };
        let plan = plan(&scenario);
        let (mut lengths, mut stopped) = ([0; 5], 0);
        for tenant in plan.population().tenants() {
            for (case, messages) in cases(&plan, tenant) {
                let campaign = campaign(&plan, tenant, &messages);
                prop_assert_eq!(violation(&campaign, &messages, end_of(&scenario)), None, "case {} of {:?}", case, tenant);
                lengths[messages.len()] += 1;
                stopped += usize::from(messages.iter().any(|message| message.stops_at.is_some()));
            }
        }
        prop_assert!(lengths[1..].iter().all(|&cases| cases > 0) && stopped > 30, "{:?}, {}", lengths, stopped);
    }
}

#[test]
fn a_broken_rule_is_noticed() {
    let scenario = week();
    let plan = plan(&scenario);
    let tenant = &plan.population().tenants()[0];
    let all = cases(&plan, tenant);
    let is_whole = |messages: &&Vec<Sent>| messages.len() == 4 && messages.iter().all(|sent| sent.stops_at.is_none());
    let right = all.values().find(is_whole).expect("a case with all its messages");
    let campaign = campaign(&plan, tenant, right);
    let found = |change: fn(&mut Vec<Sent>)| {
        let mut messages = right.clone();
        change(&mut messages);
        violation(&campaign, &messages, end_of(&scenario)).unwrap_or("nothing")
    };
    assert_eq!(found(|_| ()), "nothing");
    assert_eq!(found(|messages| messages.swap(0, 1)), "out of order");
    assert_eq!(found(|messages| messages[2].at += DAY_MS), "on another day than the rule's");
    assert_eq!(found(|messages| messages[0].stops_at = Some(messages[1].at)), "after a promise or a payment");
    assert_eq!(found(|messages| messages.truncate(3)), "not sent although nothing stopped it");
    assert_eq!(found(|messages| messages.push(messages[0].clone())), "a message too many");
    let template = |messages: &mut Vec<Sent>| messages[1].communication.content.template = "thanks_a".to_owned();
    assert_eq!(found(template), "another message than the rule's");
    let customer = |messages: &mut Vec<Sent>| messages[1].communication.customer_id = uuid::Uuid::nil();
    assert_eq!(found(customer), "to another customer");
}
