//! The writes: each planned record goes to its store at its intended instant.
//! The plan goes in; records go to Kafka's producer and, in groups of a few milliseconds, to PostgreSQL's writers.
//! Making a record is kept away from sending it, so that the pace never waits for either. Never skips a record while
//! its store can take it, and counts what a store kept from being sent.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use sluice_schemas::records::Communication;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::clock::Clock;
use super::producer::{ProduceError, Topic};
use super::shared::{Shared, add};
use crate::concurrency::lock;
use crate::plan::{Planned, Write};

/// Records that are made together, ahead of their time.
const MADE_TOGETHER: usize = 256;
/// Groups of made records that may wait for their time.
const MADE_AHEAD: usize = 64;
/// Communications of this long go to PostgreSQL in one transaction per tenant.
const WINDOW: Duration = Duration::from_millis(50);
/// How long a full queue of the producer is waited for before it is looked at again: a tick of the clock.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(2);
/// Beyond the end of the drive, how long a store that pushed back may still take records.
const GRACE: Duration = Duration::from_mins(1);

/// A record with everything its store needs.
struct Made {
    at: Duration,
    tenant: usize,
    what: What,
}

enum What {
    Row(Box<Communication>),
    Record { topic: Topic, key: String, payload: Vec<u8> },
}

/// Communications of one tenant that go to PostgreSQL together.
pub(super) struct Group {
    pub(super) tenant: usize,
    pub(super) rows: Vec<Communication>,
}

/// Sends every planned write at its time. Blocks until the last is handed over, or the drive is stopped.
pub(super) fn run(shared: &Arc<Shared>, clock: &Clock, groups: &mpsc::Sender<Group>) -> Result<(), ProduceError> {
    let (made, ready) = sync_channel(MADE_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || make_all(shared, &made));
        Pace::new(shared, clock, groups).send_all(ready)
    })
}

fn make_all(shared: &Shared, made: &SyncSender<Vec<Made>>) {
    let mut together = Vec::with_capacity(MADE_TOGETHER);
    for planned in shared.plan.writes() {
        together.push(make(planned));
        if together.len() == MADE_TOGETHER {
            let full = std::mem::replace(&mut together, Vec::with_capacity(MADE_TOGETHER));
            // The other end is gone when the drive is stopped.
            if made.send(full).is_err() {
                return;
            }
        }
    }
    drop(made.send(together));
}

fn make(planned: Planned<Write>) -> Made {
    let Planned { at, tenant, record } = planned;
    let what = match record {
        Write::Communication(communication) => What::Row(Box::new(communication)),
        Write::Event(event) => record_of(Topic::Events, customer_key(event.tenant_id, event.customer_id), &event),
        Write::Interaction(interaction) => {
            let key = customer_key(interaction.tenant_id, interaction.customer_id);
            record_of(Topic::Interactions, key, &interaction)
        }
        Write::Metric(metric) => record_of(Topic::Metrics, metric.agent_id.clone(), &metric),
    };
    Made { at, tenant, what }
}

fn customer_key(tenant: Uuid, customer: Uuid) -> String {
    format!("{tenant}:{customer}")
}

fn record_of(topic: Topic, key: String, record: &impl serde::Serialize) -> What {
    What::Record { topic, key, payload: serde_json::to_vec(record).expect("records always serialise") }
}

/// Sends made records when their time has come.
struct Pace<'a> {
    shared: &'a Shared,
    clock: &'a Clock,
    groups: &'a mpsc::Sender<Group>,
    /// Communications of the open window, per tenant.
    open: Vec<Vec<Communication>>,
    window_ends: Duration,
    /// Whether the producer's queue was full and the plan is not yet caught up with.
    behind: bool,
}

impl<'a> Pace<'a> {
    fn new(shared: &'a Shared, clock: &'a Clock, groups: &'a mpsc::Sender<Group>) -> Self {
        let open = shared.plan.population().tenants().iter().map(|_| Vec::new()).collect();
        Self { shared, clock, groups, open, window_ends: WINDOW, behind: false }
    }

    /// Owns its end of the channel, so that whoever makes records is told when nobody wants more.
    fn send_all(mut self, ready: Receiver<Vec<Made>>) -> Result<(), ProduceError> {
        for made in ready.into_iter().flatten() {
            if made.at >= self.window_ends {
                self.close_window(made.at);
            }
            if !self.clock.sleep_past(made.at) {
                return Ok(());
            }
            self.send(made)?;
        }
        self.close_window(Duration::MAX);
        Ok(())
    }

    fn send(&mut self, made: Made) -> Result<(), ProduceError> {
        let lag = self.clock.elapsed().saturating_sub(made.at);
        match made.what {
            What::Row(communication) => {
                self.open[made.tenant].push(*communication);
                self.started(lag);
            }
            What::Record { topic, key, payload } => {
                if self.hand_over(topic, made.tenant, &key, &payload)? {
                    add(&self.shared.counters.records[topic as usize], 1);
                    self.started(lag);
                }
            }
        }
        Ok(())
    }

    /// Notes the send lag, unless the store is to blame for it.
    fn started(&mut self, lag: Duration) {
        self.behind &= lag > FULL_QUEUE_PAUSE;
        if !self.behind {
            lock(&self.shared.write_lag).record(lag);
        }
    }

    /// Waits while the producer's queue is full; `false` if the store did not take the record in time.
    fn hand_over(&mut self, topic: Topic, tenant: usize, key: &str, payload: &[u8]) -> Result<bool, ProduceError> {
        let last = self.shared.scenario.duration + GRACE;
        while !self.shared.producer.send(topic, tenant, key, payload)? {
            self.behind = true;
            let now = self.clock.elapsed();
            if now > last || !self.clock.sleep_past(now + FULL_QUEUE_PAUSE) {
                add(&self.shared.counters.held_back, 1);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Hands the open window's communications to PostgreSQL's writers; `now` decides where the next one ends.
    fn close_window(&mut self, now: Duration) {
        for tenant in 0..self.open.len() {
            let rows = std::mem::take(&mut self.open[tenant]);
            let count = rows.len() as u64;
            if count == 0 {
                continue;
            }
            // The pace must not wait: with a full queue PostgreSQL is far too slow for what is offered.
            let taken = self.groups.try_send(Group { tenant, rows }).is_ok();
            let counters = &self.shared.counters;
            add(if taken { &counters.communications } else { &counters.held_back }, count);
        }
        self.window_ends = now.saturating_add(WINDOW);
    }
}
