//! The writes: each planned record is sent at its intended start, to Kafka's producer or, in groups of a few
//! milliseconds, to PostgreSQL's writers. Records are prepared on another thread, so preparing one never delays sending
//! another. No record that its store can take is skipped; those that a store held back are counted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sluice_schemas::{Store, records::Communication};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::clock::{Clock, TICK};
use super::producer::{Delivery, ProduceError, Topic};
use super::shared::{Shared, add};
use crate::measure::{DurationHistogram, Sample, WriteRecorder};
use crate::plan::{Planned, Write};
use crate::scenario::{Operation, TRANSACTION_WINDOW as WINDOW};

/// Records that are prepared together.
const BATCH: usize = 256;
/// Prepared batches that may be queued.
const BATCHES_AHEAD: usize = 64;
/// Shortest tick of the clock, where an SLO of commits needs a short one.
const SHORTEST_TICK: Duration = Duration::from_micros(100);
/// Maximum time after the end of the drive in which a store that pushed back may still accept records.
const GRACE: Duration = Duration::from_mins(1);

/// A record, ready to be sent.
struct Prepared {
    at: Duration,
    tenant: usize,
    output: Output,
}

enum Output {
    Row(Box<Communication>),
    Message { topic: Topic, key: String, payload: Vec<u8> },
}

/// Communications of one tenant, committed together.
pub(super) struct Group {
    /// Intended start of the transaction: that of the first record after its window, or of the last one of all.
    pub(super) at: Duration,
    /// The same instant, or a later one if Kafka held up the writes, and the one at which the group was queued.
    pub(super) intended: Instant,
    pub(super) queued: Instant,
    pub(super) tenant: usize,
    /// Number of the tenant's groups before it.
    pub(super) number: u64,
    pub(super) rows: Vec<Communication>,
}

/// What the pacer measured.
pub(super) struct Sent {
    /// Records handed to Kafka's producer; those that it did not take have failed.
    pub(super) kafka: WriteRecorder,
    /// Send lag of writes, without the time that a store held them back.
    pub(super) lag: DurationHistogram,
}

/// Sends every planned write at its intended start by `clock`, which starts with the first write. Blocks until the last one is queued or the drive is stopped.
pub(super) fn run(shared: &Arc<Shared>, clock: &Clock, groups: &mpsc::Sender<Group>) -> Result<Sent, ProduceError> {
    let (batches, ready) = sync_channel(BATCHES_AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || prepare_all(shared, &batches));
        Pacer::new(shared, clock, groups).send_all(ready)
    })
}

/// Keeps the raised priority: a busy machine would starve it otherwise, and every write would be late. It takes a twentieth of a
/// processor for 30,000 writes a second.
fn prepare_all(shared: &Shared, batches: &SyncSender<Vec<Prepared>>) {
    let mut batch = Vec::with_capacity(BATCH);
    for planned in shared.plan.writes_of(shared.shard) {
        batch.push(prepare(planned));
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            // The receiver is dropped when the drive is stopped.
            if batches.send(full).is_err() {
                return;
            }
        }
    }
    drop(batches.send(batch));
}

fn prepare(planned: Planned<Write>) -> Prepared {
    let Planned { at, tenant, record } = planned;
    let output = match record {
        Write::Communication(communication) => Output::Row(Box::new(communication)),
        Write::Event(event) => message(Topic::Events, customer_key(event.tenant_id, event.customer_id), &event),
        Write::Interaction(interaction) => {
            let key = customer_key(interaction.tenant_id, interaction.customer_id);
            message(Topic::Interactions, key, &interaction)
        }
        Write::Metric(metric) => message(Topic::Metrics, metric.agent_id.clone(), &metric),
    };
    Prepared { at, tenant, output }
}

fn customer_key(tenant: Uuid, customer: Uuid) -> String {
    format!("{tenant}:{customer}")
}

fn message(topic: Topic, key: String, record: &impl serde::Serialize) -> Output {
    Output::Message { topic, key, payload: serde_json::to_vec(record).expect("records always serialize") }
}

/// How far behind schedule sending is because a store held it up: the producer's queue was full. It shrinks as sending catches
/// up, and never excuses a delay that comes later.
#[derive(Debug, Default)]
struct StoreDelay(Duration);

impl StoreDelay {
    fn add(&mut self, held: Duration) {
        self.0 += held;
    }

    /// The part of the lag of a record that is the generator's own. To be asked before that record is held up itself.
    fn own_part(&mut self, lag: Duration) -> Duration {
        self.0 = self.0.min(lag);
        lag.saturating_sub(self.0)
    }
}

/// Sends prepared records at their intended starts.
struct Pacer<'a> {
    shared: &'a Shared,
    clock: &'a Clock,
    /// How late a write may be started. Each tick costs a wake-up.
    tick: Duration,
    groups: &'a mpsc::Sender<Group>,
    /// Communications of the open window, per tenant.
    open: Vec<Vec<Communication>>,
    /// Number of groups so far, per tenant.
    closed: Vec<u64>,
    window_ends: Duration,
    held: StoreDelay,
    /// One in so many events is watched; `None` if no SLO judges them.
    watched_event_in: Option<u64>,
    /// Events of the drive so far.
    events: u64,
    sent: Sent,
}

impl<'a> Pacer<'a> {
    fn new(shared: &'a Shared, clock: &'a Clock, groups: &'a mpsc::Sender<Group>) -> Self {
        let open: Vec<_> = shared.plan.population().tenants().iter().map(|_| Vec::new()).collect();
        let closed = vec![0; open.len()];
        let kafka = WriteRecorder::new(Store::Kafka, shared.scenario.duration).after(shared.scenario.lead());
        let sent = Sent { kafka, lag: DurationHistogram::default() };
        let watched_event_in =
            shared.scenario.longest_limit(Operation::Events).map(|_| shared.scenario.watched_event_in());
        let held = StoreDelay::default();
        // What starts a transaction late counts as latency of its commit.
        let judged = shared.scenario.shortest_limit(Operation::Commits);
        let tick = judged.map_or(TICK, |limit| (limit / 100).clamp(SHORTEST_TICK, TICK));
        Self { shared, clock, tick, groups, open, closed, window_ends: WINDOW, held, watched_event_in, events: 0, sent }
    }

    /// Owns the receiver, so that preparing ends when sending does.
    fn send_all(mut self, ready: Receiver<Vec<Prepared>>) -> Result<Sent, ProduceError> {
        let mut last = Duration::ZERO;
        for prepared in ready.into_iter().flatten() {
            if !self.clock.sleep_until(prepared.at, self.tick) {
                return Ok(self.sent);
            }
            if prepared.at >= self.window_ends {
                self.close_window(prepared.at);
            }
            last = prepared.at;
            self.send(prepared)?;
        }
        self.close_window(last);
        Ok(self.sent)
    }

    fn send(&mut self, prepared: Prepared) -> Result<(), ProduceError> {
        let own_lag = self.held.own_part(self.clock.elapsed().saturating_sub(prepared.at));
        match prepared.output {
            Output::Row(communication) => {
                self.open[prepared.tenant].push(*communication);
                self.record_lag(prepared.at, own_lag);
            }
            Output::Message { topic, key, payload } => {
                let (tenant, at) = (prepared.tenant, prepared.at.checked_sub(self.lead()));
                let is_watched = topic == Topic::Events && prepared.at >= self.lead() && self.watches_next();
                let delivery = Delivery { topic, tenant, at, is_watched };
                let is_queued = self.hand_over(delivery, &key, &payload)?;
                self.sent.kafka.record(prepared.at, !is_queued);
                if let Some(at) = at.filter(|_| is_watched && !is_queued) {
                    self.shared.record_operation(Operation::Events, tenant, Sample::failed(at));
                }
                if is_queued {
                    add(&self.shared.counters.records[topic as usize], 1);
                    self.record_lag(prepared.at, own_lag);
                }
            }
        }
        Ok(())
    }

    /// Records the generator's own part of a send lag. The warm-up's is not recorded.
    fn record_lag(&mut self, at: Duration, own: Duration) {
        if at >= self.lead() {
            self.sent.lag.record(own);
        }
    }

    /// Whether the next event of the drive is watched: one in [`crate::scenario::Scenario::watched_event_in`].
    fn watches_next(&mut self) -> bool {
        self.events += 1;
        self.watched_event_in.is_some_and(|every| self.events.is_multiple_of(every))
    }

    fn lead(&self) -> Duration {
        self.shared.scenario.lead()
    }

    /// Retries while the producer's queue is full; `false` if Kafka did not accept the record in time.
    fn hand_over(&mut self, delivery: Delivery, key: &str, payload: &[u8]) -> Result<bool, ProduceError> {
        let deadline = self.lead() + self.shared.scenario.duration + GRACE;
        let Some(producer) = &self.shared.producer else { return Ok(false) };
        while !producer.send(delivery, key, payload)? {
            let now = self.clock.elapsed();
            let is_driven = now <= deadline && self.clock.sleep_until(now + TICK, TICK);
            self.held.add(self.clock.elapsed().saturating_sub(now));
            if !is_driven {
                add(&self.shared.counters.writes_held_back, 1);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Queues the open window's communications for PostgreSQL and opens the next window at `now`.
    fn close_window(&mut self, now: Duration) {
        for tenant in 0..self.open.len() {
            let rows = std::mem::take(&mut self.open[tenant]);
            let count = rows.len() as u64;
            if count == 0 {
                continue;
            }
            let at = now.min(self.lead() + self.shared.scenario.duration);
            // What Kafka held up is no delay of PostgreSQL, nor of the generator: the transaction is due when it is over.
            let lag = self.clock.elapsed().saturating_sub(at);
            let by_kafka = lag.saturating_sub(self.held.own_part(lag));
            let (intended, queued) = (self.clock.instant(at + by_kafka), Instant::now());
            // Never wait here: if the queue is full, PostgreSQL is far too slow for the offered rate.
            let number = self.closed[tenant];
            self.closed[tenant] += 1;
            let is_queued = self.groups.try_send(Group { at, intended, queued, tenant, number, rows }).is_ok();
            if !is_queued {
                self.shared.record_held_back_commit(tenant, at);
            }
            let counters = &self.shared.counters;
            add(if is_queued { &counters.communications } else { &counters.writes_held_back }, count);
        }
        self.window_ends = now.saturating_add(WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_no_lag_of_the_generator_until_sending_has_caught_up() {
        let (mut held, millis) = (StoreDelay::default(), Duration::from_millis);
        assert_eq!(held.own_part(millis(1)), millis(1));
        // The record that waited was on time; those after it are late by the wait.
        held.add(millis(500));
        assert_eq!(held.own_part(millis(502)), millis(2));
        assert_eq!(held.own_part(millis(300)), millis(0));
        // Sending has caught up by 200 ms, which excuse nothing any more.
        assert_eq!(held.own_part(millis(450)), millis(150));
        assert_eq!(held.own_part(millis(0)), millis(0));
        assert_eq!(held.own_part(millis(40)), millis(40));
    }
}
