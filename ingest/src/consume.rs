//! Stage one: the consumer and the loop that everything hangs on.
//! Kafka is polled on a thread of its own, without end and whatever the stores do, so the group never loses a live
//! worker; records are decoded where they are, in librdkafka's memory. Rebalances are answered here, since librdkafka
//! calls back inside `poll`. No store is ever waited for here, except for the writes of partitions that are taken away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::Summary;
use crate::assignment::{Assignment, Tools};
use crate::metrics::Stage;
use crate::write::Event;

/// Longest wait for a record before events and clocks are looked at.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// Most records between two looks at events and clocks.
const BURST: usize = 512;
/// Least time between two reports of errors of the client.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The settings of the consumer on which the promise rests, with queues sized to `budget` bytes.
pub fn config(mut base: ClientConfig, own: &BTreeMap<String, String>, group: &str, budget: u64) -> ClientConfig {
    for (key, value) in own {
        base.set(key, value);
    }
    let fetch = (budget / 4).clamp(1 << 20, 16 << 20);
    base.set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "range")
        .set("statistics.interval.ms", "2000")
        // One queue for all partitions; the default of 64 MiB is per consumer, that of fetches 50 MiB per broker.
        .set("queued.max.messages.kbytes", (budget / 1024).max(1024).to_string())
        .set("queued.min.messages", "20000")
        .set("fetch.max.bytes", fetch.to_string())
        .set("fetch.message.max.bytes", (fetch / 8).max(1 << 20).to_string())
        // Records arrive a few at a time, and an answer for each costs broker and worker more than the records do.
        .set("fetch.min.bytes", "65536")
        .set("fetch.wait.max.ms", "100")
        // A fetch that found the queue full is tried again soon; the default of a second starves a fast consumer.
        .set("fetch.queue.backoff.ms", "2");
    base
}

/// What librdkafka's callbacks work on.
#[derive(Debug)]
pub struct Context {
    assignment: Mutex<Assignment>,
    events: Mutex<mpsc::Receiver<Event>>,
    tools: Tools,
    revoke_deadline: Duration,
    /// When an error of the client was last reported.
    reported: Mutex<Option<Instant>>,
}

impl Context {
    /// Ready for its first assignment.
    pub fn new(assignment: Assignment, events: mpsc::Receiver<Event>, tools: Tools, revoke_deadline: Duration) -> Self {
        let (assignment, events) = (Mutex::new(assignment), Mutex::new(events));
        Self { assignment, events, tools, revoke_deadline, reported: Mutex::default() }
    }

    /// Only the consume thread takes this lock, and never while it polls, so nobody waits for it.
    fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_events(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(event) = events.try_recv() {
            self.assignment().happened(&event);
        }
    }

    /// Waits until nothing of these partitions is on its way, or until the deadline.
    fn await_in_flight(&self, partitions: &[(String, i32)]) {
        let deadline = Instant::now() + self.revoke_deadline;
        let is_in_flight = || {
            let assignment = self.assignment();
            partitions.iter().any(|(topic, partition)| assignment.is_in_flight(topic, *partition))
        };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while is_in_flight() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.tools.runtime.block_on(async { tokio::time::timeout(left, events.recv()).await }) {
                Ok(Some(event)) => self.assignment().happened(&event),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Stops intake, finishes what is being written, commits what is done, and lets go.
    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &[(String, i32)]) {
        for (topic, partition) in partitions {
            self.assignment().abandon(topic, *partition);
        }
        let is_lost = consumer.assignment_lost();
        if !is_lost {
            self.await_in_flight(partitions);
        }
        let mut offsets = TopicPartitionList::new();
        for (topic, partition) in partitions {
            if let Some(offset) = self.assignment().end(topic, *partition) {
                add_offset(&mut offsets, topic, *partition, offset);
            }
        }
        self.tools.status.revoked();
        info!(partitions = partitions.len(), is_lost, "partitions revoked");
        if !is_lost
            && offsets.count() > 0
            && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
        {
            warn!(%error, "commit at revocation failed; the next owner writes those batches again");
        }
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

fn add_offset(list: &mut TopicPartitionList, topic: &str, partition: i32, offset: i64) {
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset of a record is in range");
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                error!(facility, "{message}");
            }
            _ => debug!(facility, "{message}"),
        }
    }

    /// While a broker is away librdkafka reports the same many times a second; one line in a while says as much.
    fn error(&self, error: KafkaError, reason: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_none_or(|at| at.elapsed() > REPORT_EVERY) {
            *reported = Some(Instant::now());
            warn!(%error, reason, "Kafka client reports errors; it tries again by itself");
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.tools.status.kafka(statistics.brokers.values().any(|broker| broker.state == "UP"));
        let assignment = self.assignment();
        for (topic, facts) in &statistics.topics {
            for (partition, facts) in &facts.partitions {
                if facts.ls_offset >= 0 {
                    assignment.report_lag(topic, *partition, facts.committed_offset, facts.ls_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            self.revoke(consumer, &partitions_of(list));
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                for (topic, partition) in partitions_of(list) {
                    self.assignment().assign(&topic, partition);
                }
                // A pause outlives an assignment inside librdkafka.
                if let Err(error) = consumer.resume(list) {
                    warn!(%error, "resume at assignment failed");
                }
                info!(partitions = list.count(), "partitions assigned");
                self.tools.status.assigned();
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => warn!(%error, "rebalance failed; the group tries again"),
        }
    }
}

/// Polls until `shutdown`, then drains within `drain_deadline`; or until it is `abandoned`, then leaves at once.
pub fn run(
    consumer: BaseConsumer<Context>,
    shutdown: &CancellationToken,
    drain_deadline: Duration,
    abandoned: &CancellationToken,
) -> KafkaResult<Summary> {
    let consumer = Arc::new(consumer);
    let context = Arc::clone(consumer.context());
    let mut drain_until = None;
    let outcome = loop {
        context.tools.status.turned();
        if let Err(error) = burst(&consumer, &context) {
            break Err(error);
        }
        context.take_events();
        let now = Instant::now();
        if drain_until.is_none() && shutdown.is_cancelled() {
            drain_until = Some(now + drain_deadline);
            context.assignment().drain();
        }
        context.assignment().tick(now);
        apply_flow(&consumer, &context);
        commit(&consumer, &context, now);
        let is_late = drain_until.is_some_and(|until| now >= until);
        if is_late {
            warn!("drain deadline passed; what was not written or committed is consumed again");
        }
        let is_drained = drain_until.is_some() && context.assignment().is_settled();
        if is_late || is_drained || abandoned.is_cancelled() {
            break Ok(());
        }
    };
    let summary = context.assignment().finish();
    drop(consumer);
    outcome.map(|()| summary)
}

/// Takes in what is there, waiting a little for the first record only.
fn burst(consumer: &BaseConsumer<Context>, context: &Context) -> KafkaResult<()> {
    let Some(first) = consumer.poll(POLL_WAIT) else { return Ok(()) };
    let started = Instant::now();
    take(consumer, context, first, started)?;
    for _ in 1..BURST {
        let Some(next) = consumer.poll(Duration::ZERO) else { break };
        take(consumer, context, next, started)?;
    }
    context.tools.metrics.stage(Stage::Decode, started.elapsed());
    Ok(())
}

/// Takes one record in; only a fatal error ends the worker.
fn take(
    consumer: &BaseConsumer<Context>,
    context: &Context,
    polled: KafkaResult<BorrowedMessage<'_>>,
    now: Instant,
) -> KafkaResult<()> {
    match polled {
        Ok(message) => {
            if context.assignment().take(&message, now) {
                apply_flow(consumer, context);
            }
        }
        Err(KafkaError::MessageConsumptionFatal(code)) => return Err(KafkaError::MessageConsumptionFatal(code)),
        // The client's error callback has said so already.
        Err(error) => debug!(%error, "poll failed; polling goes on"),
    }
    Ok(())
}

fn apply_flow(consumer: &BaseConsumer<Context>, context: &Context) {
    let changes = context.assignment().flow_changes();
    for (topic, partition, pause) in changes {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&topic, partition);
        let result = if pause { consumer.pause(&list) } else { consumer.resume(&list) };
        debug!(topic = &*topic, partition, pause, "flow changed");
        if let Err(error) = result {
            warn!(topic = &*topic, partition, pause, %error, "pause or resume failed");
        }
    }
}

/// Commits what is due. The call waits for Kafka's answer, so it is made elsewhere: an answer is what lets a later owner
/// rely on the offset, and librdkafka gives none for commits that nobody waits for.
fn commit(consumer: &Arc<BaseConsumer<Context>>, context: &Context, now: Instant) {
    let due = context.assignment().offsets_to_commit(now);
    if due.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::with_capacity(due.len());
    for (topic, of, offset) in &due {
        add_offset(&mut list, topic, of.partition, *offset);
    }
    let of: Vec<_> = due.into_iter().map(|(_, of, _)| of).collect();
    let (consumer, events) = (Arc::clone(consumer), context.tools.writer.events.clone());
    context.tools.runtime.spawn_blocking(move || {
        let result = consumer.commit(&list, CommitMode::Sync);
        drop(consumer);
        if let Err(error) = &result {
            warn!(%error, "commit failed; it is tried again");
        }
        // Nobody listens any more only when the worker has ended.
        drop(events.blocking_send(Event::Committed { of, acknowledged: result.is_ok() }));
    });
}
