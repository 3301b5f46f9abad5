//! The oracle: the expected answer to every question about the loaded past, computed from the population alone.
//! It counts the past once, then answers as often as needed. It never reads a store, so it can't share a store's
//! mistake.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use sluice_schemas::concurrency::lock;
use uuid::Uuid;

use super::Question;
use super::answer::Answer;
use super::key::{Key, Window};
use super::subject::Subject;
use super::tally::{ByDay, PastCommunication, PastCustomer, PastMetric, Tally};
use crate::parallel;
use crate::population::{Era, METRIC_NAMES, Population};

/// Expected answers to the questions that are asked. With all of them, it takes about 80 bytes for each past communication: the durations
/// of its events, for percentiles, and its place in the lists of search words.
#[derive(Debug)]
pub(crate) struct Oracle {
    population: Population,
    /// Tallies by index of the tenant, then by question in the order of [`Question::ALL`]; `None` for those that are not asked.
    tallies: Vec<Vec<Option<Box<dyn Tally>>>>,
    /// Answers about windows: there are few different ones, and each sums up thousands of records.
    windows: Mutex<HashMap<(Question, usize, Window), Arc<Answer>>>,
}

impl Oracle {
    /// Counts the past of every tenant once, for the questions that are asked.
    pub(crate) fn new(population: &Population, asked: &BTreeSet<Question>) -> Self {
        let tenants: Vec<usize> = (0..population.tenants().len()).collect();
        let tallies = parallel::map(&tenants, |&tenant| tallies(population, tenant, asked));
        Self { population: population.clone(), tallies, windows: Mutex::default() }
    }

    /// The expected answer to a question that a tenant asks about a key; `None` if it is a scenario's own,
    /// or not asked.
    pub(crate) fn expected(&self, question: Question, tenant: usize, key: &Key) -> Option<Arc<Answer>> {
        let tally = self.tallies[tenant][question.place()?].as_ref()?;
        let compute = || Arc::new(tally.expected(Subject { population: &self.population, tenant, key }));
        let Key::Window(window) = key else { return Some(compute()) };
        let known = lock(&self.windows).get(&(question, tenant, *window)).cloned();
        Some(known.unwrap_or_else(|| {
            let answer = compute();
            lock(&self.windows).insert((question, tenant, *window), Arc::clone(&answer));
            answer
        }))
    }
}

fn tallies(population: &Population, tenant: usize, asked: &BTreeSet<Question>) -> Vec<Option<Box<dyn Tally>>> {
    let owner = &population.tenants()[tenant];
    let days = ByDay::<()>::days(population.period(Era::Past).millis);
    let tally = |question: &Question| question.definition().ok().map(|definition| definition.tally(days));
    let mut tallies: Vec<_> =
        Question::ALL.iter().map(|question| asked.contains(question).then(|| tally(question)).flatten()).collect();
    for index in (0..owner.customers).filter(|&index| population.is_active(tenant, index)) {
        let traits = population.traits(tenant, index);
        for tally in tallies.iter_mut().flatten() {
            tally.count_customer(PastCustomer { index, traits: &traits });
        }
    }
    for index in 0..owner.past_communications {
        let lifecycle = population.lifecycle(Era::Past, tenant, index);
        let campaign = lifecycle.campaign().map_or(Uuid::nil(), |campaign| population.campaign_id(tenant, campaign));
        let communication = PastCommunication { population, tenant, index, lifecycle: &lifecycle, campaign };
        for tally in tallies.iter_mut().flatten() {
            tally.count_communication(&communication);
        }
    }
    for index in 0..owner.past_metrics {
        let millis = population.metric_millis(tenant, index);
        let name = index as usize % METRIC_NAMES.len();
        let agent = population.metric_agent(tenant, index);
        let metric = PastMetric { millis, name, agent, value: population.metric_value(Era::Past, tenant, index) };
        for tally in tallies.iter_mut().flatten() {
            tally.count_metric(metric);
        }
    }
    tallies
}
