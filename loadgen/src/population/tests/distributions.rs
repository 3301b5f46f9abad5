//! The distributions that `docs/scenarios.md` states: lengths of texts, frequencies of words, communications per customer.

use sluice_schemas::records::{Channel, Communication};

use super::*;
use crate::plan::Plan;
use crate::population::search_words::{SEARCH_WORDS, search_frequency, search_word};
use crate::question::{Key, Question};

fn smoke() -> Plan {
    let smoke = Scenario::parse(include_str!("../../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    Plan::new(&smoke, &Population::new(&smoke))
}

/// Every 19th communication of the past and of the drive.
fn sample(plan: &Plan) -> Vec<Communication> {
    let population = plan.population();
    let of = |tenant: &Tenant| {
        let index = tenant.index;
        let past = (0..tenant.past_communications).step_by(19).map(move |i| population.past_communication(index, i));
        let driven = (0..tenant.driven_communications).step_by(19).map(move |i| plan.communication(index, i).record);
        past.chain(driven)
    };
    population.tenants().iter().flat_map(of).collect()
}

fn median(lengths: impl Iterator<Item = usize>) -> usize {
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.sort_unstable();
    lengths[lengths.len() / 2]
}

#[test]
fn half_of_all_bodies_have_at_least_a_kilobyte() {
    let sample = sample(&smoke());
    let bodies = |channel: Option<Channel>| {
        sample
            .iter()
            .filter(move |record| channel == Some(record.channel) || channel.is_none())
            .map(|record| &record.content)
    };
    let median_of = |channel| median(bodies(channel).map(|content| content.body.len()));
    assert!(median_of(None) >= 1_024, "{}", median_of(None));
    assert!(median_of(Some(Channel::Email)) >= 1_024, "{}", median_of(Some(Channel::Email)));
    assert!(median_of(Some(Channel::Phone)) >= 1_024, "{}", median_of(Some(Channel::Phone)));
    assert!((100..400).contains(&median_of(Some(Channel::Sms))), "{}", median_of(Some(Channel::Sms)));
    assert!(bodies(Some(Channel::Email)).all(|content| (10..120).contains(&content.subject.len())));
}

/// Each search word is in as many bodies as its frequency and their lengths say, within five standard deviations.
#[test]
fn the_hits_of_a_search_are_those_that_its_words_frequency_predicts() {
    let plan = smoke();
    let population = plan.population();
    let (mut expected, mut variance) = ([0.0; SEARCH_WORDS], [0.0; SEARCH_WORDS]);
    let mut found = [0.0; SEARCH_WORDS];
    for index in (0..population.tenants()[0].past_communications).step_by(5) {
        let lifecycle = population.lifecycle(Era::Past, 0, index);
        let words = population.body_words(Era::Past, 0, index, lifecycle.channel).count() as f64;
        let record = population.past_communication(0, index);
        let body = record.content.body.to_lowercase();
        let tokens: HashSet<&str> = body.split(|c: char| !c.is_alphanumeric()).collect();
        for place in 0..SEARCH_WORDS {
            let hit = 1.0 - (1.0 - search_frequency(place)).powf(words);
            expected[place] += hit;
            variance[place] += hit * (1.0 - hit);
            found[place] += f64::from(u8::from(tokens.contains(search_word(lifecycle.language, place))));
        }
    }
    for place in 0..SEARCH_WORDS {
        let deviation = (found[place] - expected[place]) / f64::sqrt(variance[place]);
        assert!(deviation.abs() < 5.0, "word {place}: {} found, {} expected", found[place], expected[place]);
    }
    let texts = f64::from((population.tenants()[0].past_communications / 5) as u32);
    assert!(found[0] / texts > 0.5 && found[SEARCH_WORDS - 1] / texts < 0.01, "{found:?}");
}

#[test]
fn most_timelines_are_short_and_some_exceed_a_page() {
    let plan = smoke();
    let population = plan.population();
    let count = |tenant: &Tenant, index| population.customer_communications(Era::Past, tenant.index, index).len();
    let counts: Vec<usize> =
        population.tenants().iter().flat_map(|tenant| (0..tenant.customers).map(move |i| count(tenant, i))).collect();
    assert_eq!(counts.iter().sum::<usize>(), 50_000);
    let at_least = |length: usize| counts.iter().filter(|&&count| count >= length).count();
    let shares = [1, 5, 25, 51].map(at_least);
    assert!(shares[3] >= 20 && shares[2] < 400 && shares[1] < 4_000, "{shares:?}");
    assert!(shares[2] > 3 * shares[3], "{shares:?}: the tail falls as a power");
    let asked = plan.probes(Question::Timeline).filter(|probe| {
        let Key::Customer(customer) = probe.key else { unreachable!("{probe:?}") };
        count(&population.tenants()[probe.tenant], customer) > 50
    });
    assert!(asked.count() > 5, "long timelines are asked for");
}

#[test]
fn inactive_customers_exist_and_are_never_contacted() {
    let plan = Plan::new(&small(), &population());
    let population = plan.population();
    let (mut inactive, mut customers) = (0, 0);
    for tenant in population.tenants() {
        let of = |index: u64| population.customer(tenant.index, index);
        let ids: HashSet<Uuid> = (0..tenant.customers).map(of).filter(|one| !one.is_active).map(|one| one.id).collect();
        let past = (0..tenant.past_communications).map(|index| population.past_communication(tenant.index, index));
        let driven = (0..tenant.driven_communications).map(|index| plan.communication(tenant.index, index).record);
        assert!(past.chain(driven).all(|record| !ids.contains(&record.customer_id)));
        (inactive, customers) = (inactive + ids.len() as u64, customers + tenant.customers);
    }
    assert!((7 * customers..=8 * customers).contains(&(inactive * 100)), "{inactive} of {customers}");
}
