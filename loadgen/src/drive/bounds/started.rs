//! How many events a tenant may have sent, over time: those whose intended start has come, since none is sent before. Counts
//! are kept by intervals of the drive, so a bound is up to one interval late. It never looks at what was really sent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sluice_schemas::records::{Channel, EventType};

use crate::plan::Plan;

/// Intervals of a drive.
const INTERVALS: usize = 600;
/// Groups of events.
const GROUPS: usize = Channel::ALL.len() * EventType::ALL.len();

/// A tenant's planned events. Takes 70 KB.
#[derive(Debug)]
pub(super) struct Started {
    /// Length of the drive, from the first write.
    length: Duration,
    /// Events of each group that start until the end of each interval.
    counts: Vec<u32>,
    /// Their newest timestamp.
    newest: Vec<Option<DateTime<Utc>>>,
}

impl Started {
    /// Counts the planned events of a tenant.
    pub(super) fn new(plan: &Plan, tenant: usize) -> Self {
        let length = plan.scenario().lead() + plan.scenario().duration;
        let mut this = Self { length, counts: vec![0; INTERVALS * GROUPS], newest: vec![None; INTERVALS] };
        for index in 0..plan.population().tenants()[tenant].driven_communications {
            for (at, key, timestamp) in plan.event_starts(tenant, index) {
                let interval = this.interval(at);
                this.counts[interval * GROUPS + place(key)] += 1;
                this.newest[interval] = this.newest[interval].max(Some(timestamp));
            }
        }
        for place in GROUPS..this.counts.len() {
            this.counts[place] += this.counts[place - GROUPS];
        }
        for interval in 1..INTERVALS {
            this.newest[interval] = this.newest[interval].max(this.newest[interval - 1]);
        }
        this
    }

    /// The most events of a group that may be sent by an instant, since the first write.
    pub(super) fn count(&self, key: (Channel, EventType), at: Duration) -> u64 {
        u64::from(self.counts[self.interval(at) * GROUPS + place(key)])
    }

    /// The latest timestamp that may be sent by then.
    pub(super) fn newest(&self, at: Duration) -> Option<DateTime<Utc>> {
        self.newest[self.interval(at)]
    }

    fn interval(&self, at: Duration) -> usize {
        let interval = at.as_nanos() * INTERVALS as u128 / self.length.as_nanos().max(1);
        (interval as usize).min(INTERVALS - 1)
    }
}

fn place((channel, event): (Channel, EventType)) -> usize {
    channel as usize * EventType::ALL.len() + event as usize
}
