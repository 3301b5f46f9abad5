//! Tallies: counts over one tenant's past from which the expected answer to a question is computed.
//! Each past record is counted once; answers are read as often as needed. Tallies never read a store.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;

use uuid::Uuid;

use super::answer::{Answer, EventGroup};
use super::subject::Subject;
use super::timing::Timing;
use crate::population::{Era, Population, Traits, lifecycle::Lifecycle};

const DAY_MS: u64 = 86_400_000;

/// Counts for one question and one tenant.
pub(super) trait Tally: Debug + Send + Sync {
    /// Counts an active customer, in order of the index.
    fn count_customer(&mut self, _customer: PastCustomer<'_>) {}

    /// Counts a past communication with its events and interactions.
    fn count_communication(&mut self, _communication: &PastCommunication<'_>) {}

    /// Counts a past agent metric.
    fn count_metric(&mut self, _metric: PastMetric) {}

    /// The expected answer.
    fn expected(&self, subject: Subject<'_>) -> Answer;
}

/// An active customer.
#[derive(Debug, Clone, Copy)]
pub(super) struct PastCustomer<'a> {
    pub(super) index: u64,
    pub(super) traits: &'a Traits,
}

/// A past communication.
#[derive(Debug)]
pub(super) struct PastCommunication<'a> {
    pub(super) population: &'a Population,
    pub(super) tenant: usize,
    pub(super) index: u64,
    pub(super) lifecycle: &'a Lifecycle,
    /// Campaign of the communication; nil is "no campaign".
    pub(super) campaign: Uuid,
}

impl PastCommunication<'_> {
    /// Duration of the event of a step, in milliseconds.
    pub(super) fn duration(&self, step: usize) -> u32 {
        self.population.event_duration(Era::Past, self.tenant, self.index, self.lifecycle, step)
    }
}

/// A past measurement of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct PastMetric {
    /// Milliseconds since the start of the past.
    pub(super) millis: u64,
    /// Index of the metric's name.
    pub(super) name: usize,
    /// Index of the agent.
    pub(super) agent: u64,
    pub(super) value: f64,
}

/// One value for each day of the past.
#[derive(Debug)]
pub(super) struct ByDay<T>(Vec<T>);

impl<T: Default + Clone> ByDay<T> {
    /// Default values for `days` days.
    pub(super) fn new(days: usize) -> Self {
        Self(vec![T::default(); days])
    }

    /// Number of days of a past of that length.
    pub(super) fn days(millis: u64) -> usize {
        millis.div_ceil(DAY_MS) as usize
    }

    /// The value of the day that contains an instant.
    pub(super) fn at(&mut self, millis: u64) -> &mut T {
        &mut self.0[(millis / DAY_MS) as usize]
    }

    /// The values of a range of days.
    pub(super) fn range(&self, days: Range<usize>) -> &[T] {
        &self.0[days]
    }
}

/// Durations of events, and how many of them succeeded.
#[derive(Debug, Clone, Default)]
pub(super) struct Durations {
    millis: Vec<u32>,
    succeeded: u64,
}

impl Durations {
    /// Counts an event.
    pub(super) fn add(&mut self, millis: u32, succeeded: bool) {
        self.millis.push(millis);
        self.succeeded += u64::from(succeeded);
    }

    /// Joins maps key by key into the groups that a dashboard shows, in order of the key.
    pub(super) fn groups<'a, K: Copy + Ord + 'a>(
        maps: impl IntoIterator<Item = &'a BTreeMap<K, Self>>,
    ) -> Vec<EventGroup<K>> {
        let mut joined = BTreeMap::<K, Self>::new();
        for (&key, durations) in maps.into_iter().flatten() {
            let sum = joined.entry(key).or_default();
            sum.millis.extend(&durations.millis);
            sum.succeeded += durations.succeeded;
        }
        joined
            .into_iter()
            .map(|(key, Self { millis, succeeded })| EventGroup {
                key,
                events: millis.len() as u64,
                succeeded,
                timing: Timing::expected(millis),
            })
            .collect()
    }
}
