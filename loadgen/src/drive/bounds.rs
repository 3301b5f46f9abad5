//! What the drive adds to the expected answers of live questions, so that each has bounds: what was committed or seen before the
//! question was asked must be in its answer, and what may have been sent before the answer came may be. It never reads
//! a store or a clock.
//!
//! # Layout
//! - `committed`: up to which record a tenant's communications are committed, over time
//! - `started`: how many events a tenant may have sent, over time
//! - `seen`: what earlier answers have shown
//! - `numbers`: which numbers a rate limit has given

mod committed;
mod numbers;
mod seen;
mod started;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sluice_schemas::concurrency::lock;
use sluice_schemas::records::{Channel, EventType};

use crate::parallel;
use crate::plan::{Plan, Probe, Shard};
use crate::population::Era;
use crate::question::{Answer, Key, LiveGroup, Question, TimelineEntry};
use committed::Committed;
use numbers::Numbers;
use seen::Seen;
use started::Started;

/// Shards start together by their system clocks, so another one may be ahead by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// What is known about the writes of a drive.
#[derive(Debug)]
pub(super) struct Bounds {
    plan: Arc<Plan>,
    shard: Shard,
    committed: Vec<Mutex<Committed>>,
    /// Events by tenant; empty if no question asks for them.
    started: Vec<Started>,
    seen: Vec<Mutex<Seen>>,
    numbers: Vec<Mutex<Numbers>>,
}

impl Bounds {
    /// Nothing is written yet. If events are asked for, counts every planned one, which takes seconds for millions.
    pub(super) fn new(plan: &Arc<Plan>, shard: Shard) -> Self {
        let tenants: Vec<usize> = (0..plan.population().tenants().len()).collect();
        let is_asked = plan.scenario().questions_asked().contains(&Question::LiveDashboard);
        Self {
            plan: Arc::clone(plan),
            shard,
            committed: tenants.iter().map(|_| Mutex::default()).collect(),
            started: if is_asked { parallel::map(&tenants, |&tenant| Started::new(plan, tenant)) } else { Vec::new() },
            seen: tenants.iter().map(|_| Mutex::default()).collect(),
            numbers: tenants.iter().map(|_| Mutex::default()).collect(),
        }
    }

    /// A group of a tenant's communications, its number and newest record, is committed `at` the latest, since the start
    /// of the drive.
    pub(super) fn committed(&self, tenant: usize, group: (u64, DateTime<Utc>), at: Duration) {
        lock(&self.committed[tenant]).add(group, at);
    }

    /// An answer within the bounds was seen, asked at the earliest and answered at the latest at these times. `false` if it contradicts
    /// another one.
    pub(super) fn seen(&self, probe: &Probe, answer: &Answer, (asked, answered): (Duration, Duration)) -> bool {
        match (answer, &probe.key) {
            (Answer::LiveEvents(groups), _) => lock(&self.seen[probe.tenant]).add(groups.clone(), answered),
            (Answer::Rate { count, ttl, .. }, Key::Channel(channel)) => {
                return lock(&self.numbers[probe.tenant]).note(*channel, (*count, *ttl.start()), (asked, answered));
            }
            _ => {}
        }
        true
    }

    /// The expected answer, from that before the drive: the question was asked at `asked` at the earliest, and the answer came
    /// at `answered` at the latest. Answers of other questions stay as they are.
    pub(super) fn widen(
        &self,
        settled: Arc<Answer>,
        probe: &Probe,
        asked: Duration,
        answered: Duration,
    ) -> Arc<Answer> {
        let answered = self.in_plan(answered);
        match (&*settled, &probe.key) {
            (Answer::LiveTimeline { entries, .. }, Key::Customer(customer)) => {
                Arc::new(self.timeline(entries, (probe.tenant, *customer), asked, answered))
            }
            (Answer::LiveEvents(groups), _) => Arc::new(self.events(groups, probe.tenant, asked, answered)),
            _ => settled,
        }
    }

    /// The last instant of the plan, which counts from the first write, that has come for every shard.
    fn in_plan(&self, at: Duration) -> Duration {
        let skew = if self.shard.is_whole() { Duration::ZERO } else { CLOCK_SKEW };
        at + self.plan.scenario().lead() + skew
    }

    fn timeline(
        &self,
        settled: &[TimelineEntry],
        (tenant, customer): (usize, u64),
        asked: Duration,
        answered: Duration,
    ) -> Answer {
        let committed = lock(&self.committed[tenant]).before(asked);
        let mut required = settled.iter().map(|entry| entry.id).collect::<std::collections::BTreeSet<_>>();
        let mut entries = settled.to_vec();
        for index in self.plan.population().customer_communications(Era::Drive, tenant, customer) {
            let planned = self.plan.communication(tenant, index);
            if planned.at > answered {
                break;
            }
            // Those of other shards may be committed, but nobody here knows.
            let is_own = self.shard.writes(tenant, index);
            if is_own && committed.is_some_and(|committed| planned.record.created_at < committed) {
                required.insert(planned.record.id);
            }
            entries.push(TimelineEntry::from(planned.record));
        }
        Answer::LiveTimeline { entries, required }
    }

    fn events(&self, settled: &[LiveGroup], tenant: usize, asked: Duration, answered: Duration) -> Answer {
        let least = lock(&self.seen[tenant]).before(asked, settled);
        let started = &self.started[tenant];
        let newest_started = started.newest(answered);
        let group = |key: (Channel, EventType)| {
            let of = |groups: &[LiveGroup]| groups.iter().find(|group| group.key == key).cloned();
            let (before, least) = (of(settled), of(&least));
            let started = started.count(key, answered);
            let most = before.as_ref().map_or(0, |group| *group.events.end()) + started;
            let (events, succeeded) =
                least.as_ref().map_or((0, 0), |least| (*least.events.start(), *least.succeeded.start()));
            let newest = least.map_or(DateTime::UNIX_EPOCH, |least| *least.newest.start());
            let latest = newest_started.filter(|_| started > 0).map_or(newest, |started| started.max(newest));
            let most_succeeded = if key.1 == EventType::Failed { 0 } else { most };
            (most > 0).then_some(LiveGroup {
                key,
                events: events..=most,
                succeeded: succeeded..=most_succeeded,
                newest: newest..=latest,
            })
        };
        let keys = Channel::ALL.iter().flat_map(|&channel| EventType::ALL.iter().map(move |&event| (channel, event)));
        Answer::LiveEvents(keys.filter_map(group).collect())
    }
}

#[cfg(test)]
mod tests;
