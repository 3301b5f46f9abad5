//! Stage one: the consumer and the loop that everything hangs on.
//! Kafka is polled on a thread of its own, without end and whatever the stores do, so the group never loses a live
//! worker; records are decoded where they are, in librdkafka's memory. Rebalances are answered inside `poll`, by
//! [`crate::lane::rebalance`]. No other store is ever waited for here.

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
use super::partition::{Fetching, Flow};
use super::summary::Summary;
use super::tools::Tools;
use crate::config::Settings;
use crate::event::Event;
use crate::exactly_once::commit;
use crate::fault::{Fault, is_injected};
use crate::kafka::fetch::{self, Supply};
use crate::kafka::unreadable::{self, Next, Probe};
use crate::observe::metrics::Stage;

/// Longest wait for a record before clocks are looked at.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// The same while a store or Kafka owes an answer: nothing wakes a poll, and a batch has two answers to wait for.
const POLL_WAIT_BUSY: Duration = Duration::from_millis(2);
/// Most records between two looks at events and clocks.
const BURST: usize = 512;
/// How long Kafka may take to answer a question about a partition before it is asked again.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Least time between two searches for a record that cannot be read.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// The settings of the consumer on which the promise rests; it holds about `budget` bytes of what `supply` has.
pub fn config(mut base: ClientConfig, settings: &Settings, group: &str, budget: u64, supply: Supply) -> ClientConfig {
    fetch::bound(&mut base, budget, supply);
    base.set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Where to begin without an offset, or with one that is gone, is decided in `takeover`.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", settings.assignment.assignor())
        .set("statistics.interval.ms", "2000")
        // Records arrive a few at a time, and an answer for each costs broker and worker more than the records do.
        .set("fetch.min.bytes", "65536")
        .set("fetch.wait.max.ms", "100");
    base
}

/// What librdkafka's callbacks work on.
#[derive(Debug)]
pub struct Context {
    assignment: Mutex<Assignment>,
    pub(crate) events: Mutex<mpsc::Receiver<Event>>,
    pub(crate) tools: Tools,
    pub(crate) rebootstrap: Rebootstrap,
    pub(crate) revoke_deadline: Duration,
    /// Why the worker has to end, once it has to.
    pub(crate) broken: Mutex<Option<ConsumeError>>,
    /// When errors of the client were last reported.
    reports: LogThrottle,
    /// Settings of the consumer, and when it was last looked for a record that cannot be read.
    pub(crate) probe: (ClientConfig, Mutex<Option<Instant>>),
}

/// A consumer that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// Its client broke.
    #[error("{0}")]
    Kafka(#[from] KafkaError),
    /// A commit could still arrive after the partition has gone to somebody else.
    #[error("give partitions up: a commit has had no answer for {0:?} and could overwrite the next owner's")]
    Unanswered(Duration),
}

impl Context {
    /// Ready for its first assignment.
    pub fn new(
        assignment: Assignment,
        events: mpsc::Receiver<Event>,
        tools: Tools,
        rebootstrap: Rebootstrap,
        revoke_deadline: Duration,
    ) -> Self {
        let (assignment, events) = (Mutex::new(assignment), Mutex::new(events));
        let (broken, reports) = (Mutex::default(), LogThrottle::default());
        let probe = (ClientConfig::new(), Mutex::default());
        Self { assignment, events, tools, rebootstrap, revoke_deadline, broken, reports, probe }
    }

    /// Only the consume thread takes this lock, and never while it polls, so nobody waits for it.
    pub(crate) fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory is short: records stay where they are, in librdkafka's queue, until something has been written or a little
    /// while has passed.
    fn wait_for_memory(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let event = self.tools.runtime.block_on(async { tokio::time::timeout(POLL_WAIT_BUSY, events.recv()).await });
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
            if let Err(error) = report_verdict(consumer, &topic, partition, flow) {
                warn!(topic = &*topic, partition, ?flow, %error, "pause or resume failed; it is tried again");
                self.assignment().flow_failed(&topic, partition, flow);
            }
        }
    }

    /// Some partition's next record cannot be read: looks for it, where that was not done a moment ago.
    fn look_for_unreadable(&self) {
        let (kafka, last) = &self.probe;
        let now = Instant::now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if is_injected(Fault::IgnoreUnreadable)
            || last.is_some_and(|last| now.saturating_duration_since(last) < PROBE_EVERY)
        {
            return;
        }
        *last = Some(now);
        let (kafka, next) = (kafka.clone(), self.assignment().next_offsets());
        let events = self.tools.writer.events.clone();
        self.tools.runtime.spawn_blocking(move || {
            let probe = match Probe::new(kafka) {
                Ok(probe) => probe,
                Err(error) => return warn!(%error, "the partition whose records cannot be read was not looked for"),
            };
            for (topic, owner, offset) in next {
                match probe.next(&topic, owner.partition, offset) {
                    // Nobody listens any more only when the worker has ended.
                    Ok(Next::Unreadable { offset }) => drop(events.blocking_send(Event::Unreadable { owner, offset })),
                    Ok(Next::Readable) => {}
                    Err(error) => {
                        warn!(%error, topic, partition = owner.partition, "what comes next was not looked at")
                    }
                }
            }
        });
    }
}

fn report_verdict(consumer: &BaseConsumer<Context>, topic: &str, partition: i32, flow: Flow) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    match flow {
        Flow::Pause => consumer.pause(&list),
        Flow::Resume => consumer.resume(&list),
        Flow::ResumeAt(offset) => {
            consumer.seek(topic, partition, Offset::Offset(offset), ANSWER_WAIT)?;
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

    /// While a broker is away librdkafka reports the same many times a second; one line in a while says as much.
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(left_out) = self.reports.due(error.rdkafka_error_code(), Instant::now()) {
            warn!(%error, reason, left_out, "Kafka client reports errors; it tries again by itself");
        }
        // An answer that is too large breaks its connection, and says nothing of a partition.
        if unreadable::is_suspicious(&error) || reason.contains("receive.message.max.bytes") {
            self.look_for_unreadable();
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.rebootstrap.observe(&statistics);
        self.tools.status.set_kafka_available(statistics.brokers.values().any(|broker| broker.state == "UP"));
        let mut assignment = self.assignment();
        for (topic, facts) in &statistics.topics {
            for (partition, facts) in &facts.partitions {
                let fetching = Fetching {
                    state: &facts.fetch_state,
                    next: facts.next_offset,
                    queued: facts.fetchq_cnt,
                    stable: facts.ls_offset,
                    high: facts.hi_offset,
                };
                assignment.update_fetch_state(topic, *partition, fetching);
            }
        }
    }
}

/// Polls until `shutdown`, then drains within `drain_deadline`; or until it is `abandoned`, then leaves at once.
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
        context.tools.status.heartbeat();
        if let Err(error) = burst(&consumer, &context) {
            break Err(error.into());
        }
        if let Some(error) = context.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            break Err(error);
        }
        if context.rebootstrap.add_servers_if_lost(consumer.client()) {
            warn!("Kafka named no broker at all, so the client knew none; it is told the bootstrap servers again");
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
            warn!("drain deadline passed; what was not written or committed is consumed again");
        }
        if is_late || is_drained || abandoned.is_cancelled() {
            break Ok(is_late);
        }
    };
    let summary = context.assignment().finish();
    drop(consumer);
    outcome.map(|is_late| Summary { is_late, ..summary })
}

/// Takes in what is there, waiting a little for the first record only.
fn burst(consumer: &BaseConsumer<Context>, context: &Context) -> KafkaResult<()> {
    if context.assignment().waits_for_memory(Instant::now()) {
        context.wait_for_memory();
        return Ok(());
    }
    let wait = if context.assignment().awaits_answers() { POLL_WAIT_BUSY } else { POLL_WAIT };
    let Some(first) = consumer.poll(wait) else { return Ok(()) };
    let started = Instant::now();
    let mut proceed = take(consumer, context, first, started)?;
    for _ in 1..BURST {
        if !proceed {
            break;
        }
        let Some(next) = consumer.poll(Duration::ZERO) else { break };
        proceed = take(consumer, context, next, started)?;
    }
    context.tools.metrics.stage(Stage::Decode, started.elapsed());
    Ok(())
}

/// Takes one record in and says whether the next may follow at once; only a fatal error ends the worker.
fn take(
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
        // A partition that the client gives up because of it, or that gets no further, is found by `partition::supply`.
        Err(error) => context.error(error, "poll failed; polling goes on"),
    }
    Ok(true)
}

/// Commits what is due, in a call for each topic, so that one topic's trouble stays its own. The call blocks until Kafka
/// answers, so it is made on another thread.
fn commit_due(consumer: &Arc<BaseConsumer<Context>>, context: &Context, now: Instant) {
    let mut due = context.assignment().commits(now);
    while let Some((topic, _, _)) = due.first() {
        let topic = Arc::clone(topic);
        let (own, others): (Vec<_>, Vec<_>) = due.into_iter().partition(|(owner, _, _)| *owner == topic);
        due = others;
        let owner: Vec<_> = own.iter().map(|(_, owner, _)| *owner).collect();
        let offsets = commit::offsets(own.into_iter().map(|(_, owner, due)| (&*topic, owner.partition, due)));
        let (consumer, events) = (Arc::clone(consumer), context.tools.writer.events.clone());
        let (topic_ids, known) = (Arc::clone(&context.tools.topic_ids), context.assignment().topic_id(&topic));
        context.tools.runtime.spawn_blocking(move || {
            let outcome = commit::commit(&consumer, &topic_ids, (&topic, known), &offsets);
            drop(consumer);
            // Nobody listens any more only when the worker has ended.
            drop(events.blocking_send(Event::Committed { owner, outcome }));
        });
    }
}
