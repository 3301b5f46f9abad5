//! The consumer and its poll loop.
//! A dedicated thread polls Kafka continuously, regardless of the stores, so the group never removes a live worker. Records
//! are decoded in place, in librdkafka's memory. Rebalances run inside `poll`, in [`crate::lane::rebalance`]. The loop waits
//! for no other store, except when partitions are revoked, with deadlines.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_schemas::rebootstrap::Rebootstrap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::assignment::Assignment;
use super::log_throttle::LogThrottle;
use super::partition::{FetchStats, Flow};
use super::services::Services;
use super::summary::Summary;
use crate::config::Settings;
use crate::event::Event;
use crate::exactly_once::commit;
use crate::fault::{Fault, is_injected};
use crate::kafka::fetch::{self, FetchSource};
use crate::kafka::unreadable::{self, Next, Probe};
use crate::observe::metrics::Stage;

/// Maximum wait for a record before events and timers are handled.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// Maximum wait while a write or a commit is in flight: no event wakes a poll, and each batch waits for two responses.
const POLL_WAIT_BUSY: Duration = Duration::from_millis(2);
/// Maximum number of records consumed before events and timers are handled.
const BURST: usize = 512;
/// Timeout of a seek.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);
/// Minimum time between two searches for a record that cannot be read.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// Returns the consumer's settings on which delivery depends. The consumer queues about `budget` bytes from `source`.
pub fn config(
    mut base: ClientConfig,
    settings: &Settings,
    group: &str,
    budget: u64,
    source: FetchSource,
) -> ClientConfig {
    fetch::bound(&mut base, budget, source);
    base.set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // `takeover` decides where to begin if the committed offset is missing or outside the log.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", settings.assignment.assignor())
        .set("statistics.interval.ms", "2000")
        // Records arrive a few at a time, and a response for each costs broker and worker more than the records do.
        .set("fetch.min.bytes", "65536")
        .set("fetch.wait.max.ms", "100");
    base
}

/// The state that librdkafka's callbacks use.
#[derive(Debug)]
pub struct Context {
    assignment: Mutex<Assignment>,
    pub(crate) events: Mutex<mpsc::Receiver<Event>>,
    pub(crate) services: Services,
    pub(crate) rebootstrap: Rebootstrap,
    pub(crate) revoke_deadline: Duration,
    /// Why the worker has to end, if it must.
    pub(crate) fatal: Mutex<Option<ConsumeError>>,
    log_throttle: LogThrottle,
    /// Settings of the consumer, and the time of the last search for a record that cannot be read.
    pub(crate) probe: (ClientConfig, Mutex<Option<Instant>>),
}

/// Why the consumer cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// A fatal error of the client.
    #[error("{0}")]
    Kafka(#[from] KafkaError),
    /// A commit could still arrive after the partition has a new owner.
    #[error(
        "release partitions: Kafka has not responded to a commit for {0:?}, and it could still overwrite the next owner's offset"
    )]
    Unanswered(Duration),
}

impl Context {
    /// Creates a context that is ready for its first assignment.
    pub fn new(
        assignment: Assignment,
        events: mpsc::Receiver<Event>,
        services: Services,
        rebootstrap: Rebootstrap,
        revoke_deadline: Duration,
    ) -> Self {
        let (assignment, events) = (Mutex::new(assignment), Mutex::new(events));
        let (fatal, log_throttle) = (Mutex::default(), LogThrottle::default());
        let probe = (ClientConfig::new(), Mutex::default());
        Self { assignment, events, services, rebootstrap, revoke_deadline, fatal, log_throttle, probe }
    }

    /// Locks the assignment. Only the consume thread takes this lock, and it never holds it across a call to `poll`, whose
    /// callbacks take it.
    pub(crate) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves records in librdkafka's queue until an event arrives or [`POLL_WAIT_BUSY`] has passed.
    fn wait_for_memory(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = self.services.runtime.block_on(async { tokio::time::timeout(POLL_WAIT_BUSY, events.recv()).await });
        if let Ok(Some(event)) = event {
            self.assignment().handle(event);
        }
    }

    fn take_events(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(event) = events.try_recv() {
            self.assignment().handle(event);
        }
    }

    pub(crate) fn apply_flow(&self, consumer: &BaseConsumer<Self>) {
        let changes = self.assignment().flow_changes();
        for (topic, partition, flow) in changes {
            debug!(topic = &*topic, partition, ?flow, "flow changed");
            if let Err(error) = set_flow(consumer, &topic, partition, flow) {
                warn!(topic = &*topic, partition, ?flow, %error, "pause or resume failed; retrying");
                self.assignment().retry_flow(&topic, partition, flow);
            }
        }
    }

    /// Searches for the partition whose next record cannot be read, at most once per [`PROBE_INTERVAL`].
    fn search_unreadable(&self) {
        let (kafka, last) = &self.probe;
        let now = Instant::now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if is_injected(Fault::IgnoreUnreadable)
            || last.is_some_and(|last| now.saturating_duration_since(last) < PROBE_INTERVAL)
        {
            return;
        }
        *last = Some(now);
        let (kafka, next) = (kafka.clone(), self.assignment().next_offsets());
        let events = self.services.writer.events.clone();
        self.services.runtime.spawn_blocking(move || {
            let probe = match Probe::new(kafka) {
                Ok(probe) => probe,
                Err(error) => return warn!(%error, "search for an unreadable record failed"),
            };
            for (topic, assignment, offset) in next {
                match probe.next(&topic, assignment.partition, offset) {
                    // The channel is closed only when the worker has ended.
                    Ok(Next::Unreadable { offset }) => drop(events.blocking_send(Event::Unreadable { assignment, offset })),
                    Ok(Next::Readable) => {}
                    Err(error) => {
                        warn!(%error, topic, partition = assignment.partition, "search for an unreadable record failed");
                    }
                }
            }
        });
    }
}

fn set_flow(consumer: &BaseConsumer<Context>, topic: &str, partition: i32, flow: Flow) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    match flow {
        Flow::Pause => consumer.pause(&list),
        Flow::Resume => consumer.resume(&list),
        Flow::ResumeAt(offset) => {
            consumer.seek(topic, partition, Offset::Offset(offset), SEEK_TIMEOUT)?;
            consumer.resume(&list)
        }
    }
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

    /// While a broker is unavailable, librdkafka reports the same error many times a second, so the log is throttled.
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(suppressed) = self.log_throttle.due(error.rdkafka_error_code(), Instant::now()) {
            warn!(%error, reason, suppressed, "Kafka client reports errors; it retries");
        }
        // A response that is too large closes its connection, and does not name a partition.
        if unreadable::is_suspicious(&error) || reason.contains("receive.message.max.bytes") {
            self.search_unreadable();
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.rebootstrap.observe(&statistics);
        self.services.status.set_kafka_available(statistics.brokers.values().any(|broker| broker.state == "UP"));
        let mut assignment = self.assignment();
        for (topic, facts) in &statistics.topics {
            for (partition, facts) in &facts.partitions {
                let stats = FetchStats {
                    state: &facts.fetch_state,
                    next: facts.next_offset,
                    queued: facts.fetchq_cnt,
                    stable: facts.ls_offset,
                    high: facts.hi_offset,
                };
                assignment.update_fetch_stats(topic, *partition, stats);
            }
        }
    }
}

/// Polls until `shutdown`, then drains within `drain_deadline`; returns at once when `abandoned`.
pub fn run(
    consumer: BaseConsumer<Context>,
    shutdown: &CancellationToken,
    drain_deadline: Duration,
    abandoned: &CancellationToken,
) -> Result<Summary, ConsumeError> {
    let consumer = Arc::new(consumer);
    let context = Arc::clone(consumer.context());
    let mut drain_until = None;
    let outcome = loop {
        context.services.status.heartbeat();
        if let Err(error) = burst(&consumer, &context) {
            break Err(error.into());
        }
        if let Some(error) = context.fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            break Err(error);
        }
        if context.rebootstrap.add_servers_if_lost(consumer.client()) {
            warn!("the client knew no broker; added the bootstrap servers again");
        }
        context.take_events();
        let now = Instant::now();
        if drain_until.is_none() && shutdown.is_cancelled() {
            drain_until = Some(now + drain_deadline);
            context.assignment().drain();
        }
        context.assignment().tick(now);
        context.apply_flow(&consumer);
        commit_due(&consumer, &context, now);
        let is_drained = drain_until.is_some() && context.assignment().is_settled();
        let is_late = !is_drained && drain_until.is_some_and(|until| now >= until);
        if is_late {
            warn!("drain deadline passed; records not written or committed will be consumed again");
        }
        if is_late || is_drained || abandoned.is_cancelled() {
            break Ok(is_late);
        }
    };
    let summary = context.assignment().finish();
    drop(consumer);
    outcome.map(|is_late| Summary { is_late, ..summary })
}

/// Consumes the available records, up to [`BURST`]; waits only for the first.
fn burst(consumer: &BaseConsumer<Context>, context: &Context) -> KafkaResult<()> {
    if context.assignment().waits_for_memory(Instant::now()) {
        context.wait_for_memory();
        return Ok(());
    }
    let wait = if context.assignment().awaits_responses() { POLL_WAIT_BUSY } else { POLL_WAIT };
    let Some(first) = consumer.poll(wait) else { return Ok(()) };
    let started = Instant::now();
    let mut may_continue = consume(consumer, context, first, started)?;
    for _ in 1..BURST {
        if !may_continue {
            break;
        }
        let Some(next) = consumer.poll(Duration::ZERO) else { break };
        may_continue = consume(consumer, context, next, started)?;
    }
    context.services.metrics.observe_stage(Stage::Decode, started.elapsed());
    Ok(())
}

/// Consumes one record and returns whether the next may follow at once; only a fatal error ends the worker.
fn consume(
    consumer: &BaseConsumer<Context>,
    context: &Context,
    polled: KafkaResult<BorrowedMessage<'_>>,
    now: Instant,
) -> KafkaResult<bool> {
    match polled {
        Ok(message) => {
            if context.assignment().consume(&message, now) {
                context.apply_flow(consumer);
                return Ok(!context.assignment().waits_for_memory(now));
            }
        }
        Err(KafkaError::MessageConsumptionFatal(code)) => return Err(KafkaError::MessageConsumptionFatal(code)),
        // `partition::progress` detects a partition that the client has given up on because of this error, or that makes
        // no progress.
        Err(error) => context.error(error, "poll failed; polling continues"),
    }
    Ok(true)
}

/// Commits what is due, with one call per topic, so that a failure affects one topic only. The call blocks until Kafka
/// responds, so it runs on another thread.
fn commit_due(consumer: &Arc<BaseConsumer<Context>>, context: &Context, now: Instant) {
    let mut due = context.assignment().commits(now);
    while let Some((topic, _, _)) = due.first() {
        let topic = Arc::clone(topic);
        let (matching, others): (Vec<_>, Vec<_>) = due.into_iter().partition(|(name, _, _)| *name == topic);
        due = others;
        let assignments: Vec<_> = matching.iter().map(|(_, assignment, _)| *assignment).collect();
        let offsets =
            commit::offsets(matching.into_iter().map(|(_, assignment, due)| (&*topic, assignment.partition, due)));
        let (consumer, events) = (Arc::clone(consumer), context.services.writer.events.clone());
        let (topic_ids, topic_id) = (Arc::clone(&context.services.topic_ids), context.assignment().topic_id(&topic));
        context.services.runtime.spawn_blocking(move || {
            let outcome = commit::commit(&consumer, &topic_ids, (&topic, topic_id), &offsets);
            drop(consumer);
            // The channel is closed only when the worker has ended.
            drop(events.blocking_send(Event::Committed { assignments, outcome }));
        });
    }
}
