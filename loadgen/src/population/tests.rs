//! The properties that the rest of the program relies on.

mod cases;
mod distributions;

use std::collections::HashSet;

use super::*;
use crate::scenario::Scenario;

fn population() -> Population {
    Population::new(&small())
}

fn small() -> Scenario {
    let smoke = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    Scenario { customers: 600, history: 900, communications: 1_200, ..smoke }
}

#[test]
fn the_same_seed_yields_the_same_records_in_any_order() {
    let (one, two) = (population(), population());
    let last = one.tenants()[1].customers - 1;
    assert_eq!(one.customer(1, last), two.customer(1, last));
    assert_eq!(one.customer(0, 3), two.customer(0, 3));
    assert_eq!(one.past_communication(2, 5), two.past_communication(2, 5));
    assert_ne!(one.customer(0, 3), Population::new(&Scenario { seed: 43, ..small() }).customer(0, 3));
}

#[test]
fn each_communication_is_listed_for_exactly_its_customer_in_every_trial() {
    let first = population();
    for population in [first.of_trial(1, &small()), first.of_trial(3, &small()), first] {
        for (tenant, era) in
            (0..population.tenants().len()).flat_map(|tenant| [(tenant, Era::Past), (tenant, Era::Drive)])
        {
            let mut listed = Vec::new();
            for customer in 0..population.tenants()[tenant].customers {
                let own = population.customer_communications(era, tenant, customer);
                assert!(own.is_sorted());
                assert!(own.iter().all(|&index| population.recipient(era, tenant, index) == customer));
                assert!(own.iter().all(|&index| population.lifecycle(era, tenant, index).customer == customer));
                listed.extend(own);
            }
            listed.sort_unstable();
            assert_eq!(listed, (0..population.tenants()[tenant].communications_in(era)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_customer_and_a_communication_look_like_collections() {
    let population = population();
    let is_email = |&index: &u64| {
        let lifecycle = population.lifecycle(Era::Past, 0, index);
        lifecycle.case.is_some() && lifecycle.channel == sluice_schemas::records::Channel::Email
    };
    let email = (0..population.tenants()[0].past_communications).find(is_email).expect("half of them are");
    insta::assert_json_snapshot!((
        population.customer(0, 4),
        population.campaign(0, 1),
        population.past_communication(0, email)
    ));
    insta::assert_json_snapshot!((
        population.past_events(0, email),
        population.past_interactions(0, email),
        population.past_metric(0, 9)
    ));
}

#[test]
fn identifiers_and_addresses_are_unique() {
    let population = population();
    let (mut ids, mut addresses) = (HashSet::new(), HashSet::new());
    for tenant in population.tenants() {
        assert!(ids.insert(tenant.id));
        for index in 0..tenant.customers {
            let customer = population.customer(tenant.index, index);
            assert!(ids.insert(customer.id) && addresses.insert((tenant.id, customer.email.to_lowercase())));
        }
        for index in 0..tenant.past_communications {
            assert!(ids.insert(population.past_communication(tenant.index, index).id));
            assert!(population.past_events(tenant.index, index).iter().all(|event| ids.insert(event.event_id)));
        }
        assert!((0..tenant.campaigns).all(|index| ids.insert(population.campaign_id(tenant.index, index))));
    }
}

#[test]
fn the_past_is_in_order_complete_and_over_before_the_drive() {
    let population = population();
    let past = population.past();
    for tenant in population.tenants() {
        let mut seqs = Vec::new();
        let mut created = past.start;
        for index in 0..tenant.past_communications {
            let communication = population.past_communication(tenant.index, index);
            let events = population.past_events(tenant.index, index);
            assert!(created <= communication.created_at && past.contains(&communication.created_at));
            created = communication.created_at;
            assert_eq!(events.last().unwrap().event_type, communication.status);
            assert!(events.iter().all(|event| past.contains(&event.timestamp)));
            assert!(events.iter().all(|event| event.customer_id == communication.customer_id));
            seqs.extend(events.iter().map(|event| event.metadata.seq));
        }
        assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "sequence numbers have gaps");
        let last = population.past_metric(tenant.index, tenant.past_metrics - 1);
        assert!(past.contains(&last.timestamp));
    }
}

#[test]
fn every_record_refers_to_an_existing_customer_and_campaign() {
    let population = population();
    for tenant in population.tenants() {
        let customers: HashSet<Uuid> = (0..tenant.customers).map(|i| population.customer_id(tenant.index, i)).collect();
        let campaigns: HashSet<Uuid> = (0..tenant.campaigns).map(|i| population.campaign_id(tenant.index, i)).collect();
        for index in 0..tenant.past_communications {
            let communication = population.past_communication(tenant.index, index);
            assert!(customers.contains(&communication.customer_id));
            assert!(communication.campaign_id.is_none_or(|campaign| campaigns.contains(&campaign)));
        }
    }
}
