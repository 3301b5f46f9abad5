//! Stage one: the consumer and the loop that everything hangs on.
//! Kafka is polled on a thread of its own, without end and whatever the stores do, so the group never loses a live
//! worker; records are decoded where they are, in librdkafka's memory. Rebalances are answered here, since librdkafka
//! calls back inside `poll`: what was announced is read when a partition comes, and writes and commits of partitions that
//! go are waited for. No other store is ever waited for here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings::rd_kafka_resp_err_t as ResponseError;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::Summary;
use crate::assignment::{Assignment, Tools};
use crate::commit::Due;
use crate::config::Settings;
use crate::failpoint::is_sabotaged;
use crate::metrics::Stage;
use crate::partition::{Flow, Start};
use crate::takeover::{self, Found, Opening};
use crate::topic_id::topic_id;
use crate::write::Event;

/// Longest wait for a record before events and clocks are looked at.
const POLL_WAIT: Duration = Duration::from_millis(10);
/// Most records between two looks at events and clocks.
const BURST: usize = 512;
/// How long Kafka may take to answer a question about a partition before it is asked again.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a commit may go without an answer when its partition is taken away. librdkafka gives up sooner, unless it is
/// stuck; a commit that it sends later could carry the next generation of the group.
const COMMIT_ANSWER: Duration = Duration::from_mins(2);
/// Why a partition stops whose topic is another one by now.
const MADE_ANEW: &str = "the topic was deleted and made anew since this worker started; restart it";
/// Least time between two reports of errors of the client.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The settings of the consumer on which the promise rests, with queues sized to `budget` bytes.
pub fn config(mut base: ClientConfig, settings: &Settings, group: &str, budget: u64) -> ClientConfig {
    // Counted in compressed bytes: JSON becomes several times as large once it is here, and the queue counts it only then.
    let fetch = (budget / 16).clamp(1 << 20, 16 << 20);
    base.set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Where to begin without an offset, or with one that is gone, is decided in `takeover`.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", settings.assignment.assignor())
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
    /// Ends whatever waits for Kafka.
    ending: [CancellationToken; 2],
    /// Why the worker has to end, once it has to.
    broken: Mutex<Option<ConsumeError>>,
    /// When an error of the client was last reported.
    reported: Mutex<Option<Instant>>,
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
    /// Ready for its first assignment; whatever waits for Kafka ends when one of `ending` does.
    pub fn new(
        assignment: Assignment,
        events: mpsc::Receiver<Event>,
        tools: Tools,
        revoke_deadline: Duration,
        ending: [CancellationToken; 2],
    ) -> Self {
        let (assignment, events) = (Mutex::new(assignment), Mutex::new(events));
        let (broken, reported) = (Mutex::default(), Mutex::default());
        Self { assignment, events, tools, revoke_deadline, ending, broken, reported }
    }

    /// Only the consume thread takes this lock, and never while it polls, so nobody waits for it.
    fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        self.ending.iter().any(CancellationToken::is_cancelled)
    }

    fn take_events(&self) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(event) = events.try_recv() {
            self.assignment().happened(event);
        }
    }

    /// Waits while `is_on_its_way`, for at most this long.
    fn wait_while(&self, patience: Duration, is_on_its_way: impl Fn(&Assignment) -> bool) {
        let deadline = Instant::now() + patience;
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while is_on_its_way(&self.assignment()) && Instant::now() < deadline {
            self.tools.status.turned();
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
            match self.tools.runtime.block_on(async { tokio::time::timeout(left, events.recv()).await }) {
                Ok(Some(event)) => self.assignment().happened(event),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Finds out where each partition begins, hands them to the client with that offset, and opens them.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        let since = Instant::now();
        let mut starts = BTreeMap::new();
        for (topic, partition) in partitions_of(list) {
            let Some(opening) = self.opening(consumer, &topic, partition) else { return };
            let (offset, mut start) = start(opening);
            let known = self.assignment().topic_id(&topic);
            if !is_same_topic(consumer, &topic, known) {
                start = Err(MADE_ANEW.to_owned());
            }
            list.set_partition_offset(&topic, partition, offset).expect("the partition is in the list it came from");
            starts.insert((topic, partition), start);
        }
        let assigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            _ => consumer.assign(list),
        };
        // A pause outlives an assignment inside librdkafka.
        if let Err(error) = assigned.and_then(|()| consumer.resume(list)) {
            warn!(%error, "assign failed; the group tries again");
            return;
        }
        for ((topic, partition), start) in starts {
            self.assignment().assign(&topic, partition, start, since);
        }
        self.apply_flow(consumer);
        info!(partitions = list.count(), "partitions assigned");
        self.tools.status.assigned();
    }

    /// Asks Kafka about a partition until it answers; `None` when the worker ends meanwhile.
    fn opening(&self, consumer: &BaseConsumer<Self>, topic: &str, partition: i32) -> Option<(Opening, Option<i64>)> {
        loop {
            self.tools.status.turned();
            match found(consumer, topic, partition) {
                Ok(found) => return Some((takeover::open(&found), found.committed)),
                Err(_) if self.is_ending() => return None,
                Err(error) => {
                    warn!(%error, topic, partition, "Kafka does not say where a partition stands; asking again");
                }
            }
        }
    }

    /// Stops intake, finishes what is being written, commits what is done, and lets go.
    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = partitions_of(list);
        for (topic, partition) in &partitions {
            self.assignment().abandon(topic, *partition);
        }
        let is_lost = consumer.assignment_lost();
        let any = |is: fn(&Assignment, &str, i32) -> bool| {
            let partitions = &partitions;
            move |assignment: &Assignment| partitions.iter().any(|(topic, partition)| is(assignment, topic, *partition))
        };
        failpoint!("revoking");
        let waits = !is_sabotaged("revocation");
        if waits && !is_lost {
            self.wait_while(self.revoke_deadline, any(Assignment::is_in_flight));
        }
        if waits {
            self.wait_while(COMMIT_ANSWER, any(Assignment::is_committing));
        }
        if waits && any(Assignment::is_committing)(&self.assignment()) {
            let error = ConsumeError::Unanswered(COMMIT_ANSWER);
            self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
        let due = partitions.iter().filter_map(|(topic, partition)| {
            let due = self.assignment().end(topic, *partition)?;
            Some((topic.as_str(), *partition, due))
        });
        let commit = commit_list(due);
        self.tools.status.revoked();
        info!(partitions = partitions.len(), is_lost, "partitions revoked");
        if !is_lost
            && commit.count() > 0
            && let Err(error) = consumer.commit(&commit, CommitMode::Sync)
        {
            warn!(%error, "commit at revocation failed; the next owner finds those batches in the table");
        }
        let let_go = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(error) = let_go {
            warn!(%error, "unassign failed; the group tries again");
        }
    }

    fn apply_flow(&self, consumer: &BaseConsumer<Self>) {
        let changes = self.assignment().flow_changes();
        for (topic, partition, flow) in changes {
            debug!(topic = &*topic, partition, ?flow, "flow changed");
            if let Err(error) = tell(consumer, &topic, partition, flow) {
                warn!(topic = &*topic, partition, ?flow, %error, "pause or resume failed; it is tried again");
                self.assignment().flow_failed(&topic, partition, flow);
            }
        }
    }

    /// Some partition's next record is no longer in the log: stops those for which that is so.
    fn stop_out_of_range(&self, consumer: &BaseConsumer<Self>) {
        let owned = self.assignment().positions();
        for (topic, partition, position) in owned {
            let Ok((low, high)) = consumer.fetch_watermarks(&topic, partition, ANSWER_WAIT) else { continue };
            if position < low || position > high {
                let why = format!(
                    "offset {position} comes next, but the log holds {low} to {high}: records were deleted before they were \
                     consumed, or the topic was made anew; decide with `sluice ingest offsets set`"
                );
                self.assignment().stop_partition(&topic, partition, &why);
            }
        }
    }
}

fn tell(consumer: &BaseConsumer<Context>, topic: &str, partition: i32, flow: Flow) -> KafkaResult<()> {
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

/// Whether a topic is still the one whose identity the rows carry. One that does not say is believed: it is asked again.
fn is_same_topic(consumer: &BaseConsumer<Context>, topic: &str, known: Option<Uuid>) -> bool {
    match topic_id(consumer.client(), topic, ANSWER_WAIT) {
        Ok(id) => Some(id) == known,
        Err(error) => {
            warn!(%error, topic, "the topic does not say who it is");
            true
        }
    }
}

/// What Kafka says about a partition of ours.
fn found(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> KafkaResult<Found> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(topic, partition);
    let answer = consumer.committed_offsets(list, ANSWER_WAIT)?;
    let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_WAIT)?;
    let elements = answer.elements();
    let committed = elements.first().and_then(|element| match element.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    });
    let metadata = elements.first().map(|element| element.metadata().to_owned()).unwrap_or_default();
    Ok(Found { committed, metadata, low, high })
}

/// Where the client begins, and where the partition does.
fn start((opening, committed): (Opening, Option<i64>)) -> (Offset, Result<Start, String>) {
    match opening {
        Opening::Ask { offset, intent } => (Offset::Offset(offset), Ok(Start { offset, committed, intent })),
        Opening::Stop(why) => (Offset::End, Err(why)),
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

fn commit_list<'a>(due: impl Iterator<Item = (&'a str, i32, Due)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition, Due { offset, metadata }) in due {
        let mut entry = list.add_partition(topic, partition);
        entry.set_offset(Offset::Offset(offset)).expect("an offset of a record is in range");
        entry.set_metadata(metadata);
    }
    list
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
        let mut assignment = self.assignment();
        for (topic, facts) in &statistics.topics {
            for (partition, facts) in &facts.partitions {
                if facts.ls_offset >= 0 {
                    assignment.report_lag(topic, *partition, facts.committed_offset, facts.ls_offset);
                }
                if facts.fetchq_cnt == 0 {
                    assignment.reached(topic, *partition, facts.next_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: ResponseError, list: &mut TopicPartitionList) {
        match what {
            ResponseError::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            ResponseError::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, list),
            other => {
                warn!(error = %RDKafkaErrorCode::from(other), "rebalance failed; the group tries again");
                self.revoke(consumer, list);
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
        context.tools.status.turned();
        if let Err(error) = burst(&consumer, &context) {
            break Err(error.into());
        }
        if let Some(error) = context.broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
            break Err(error);
        }
        context.take_events();
        let now = Instant::now();
        if drain_until.is_none() && shutdown.is_cancelled() {
            drain_until = Some(now + drain_deadline);
            context.assignment().drain();
        }
        context.assignment().tick(now);
        context.apply_flow(&consumer);
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
                context.apply_flow(consumer);
            }
        }
        Err(KafkaError::MessageConsumptionFatal(code)) => return Err(KafkaError::MessageConsumptionFatal(code)),
        Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)) => {
            context.stop_out_of_range(consumer);
        }
        // The client's error callback has said so already.
        Err(error) => debug!(%error, "poll failed; polling goes on"),
    }
    Ok(())
}

/// Commits what is due, a call for each topic, so that one topic's trouble stays its own. The call waits for Kafka's
/// answer, so it is made elsewhere: an answer is what lets anybody rely on the offset and the intent, and librdkafka gives
/// none for commits that nobody waits for.
///
/// A topic that is deleted and made anew goes unnoticed by librdkafka where its next offset exists in both. So its identity
/// is asked for once more after the records have come and before they are announced.
fn commit(consumer: &Arc<BaseConsumer<Context>>, context: &Context, now: Instant) {
    let mut due = context.assignment().commits(now);
    while let Some((topic, _, _)) = due.first() {
        let topic = Arc::clone(topic);
        let (own, others): (Vec<_>, Vec<_>) = due.into_iter().partition(|(of, _, _)| *of == topic);
        due = others;
        let of: Vec<_> = own.iter().map(|(_, of, _)| *of).collect();
        let list = commit_list(own.into_iter().map(|(_, of, due)| (&*topic, of.partition, due)));
        let (consumer, events) = (Arc::clone(consumer), context.tools.writer.events.clone());
        let known = context.assignment().topic_id(&topic);
        context.tools.runtime.spawn_blocking(move || {
            let is_same = is_same_topic(&consumer, &topic, known);
            failpoint!("committing");
            let acknowledged = is_same && {
                let result = consumer.commit(&list, CommitMode::Sync);
                failpoint!("committed");
                result.inspect_err(|error| warn!(%error, "commit failed; it is tried again")).is_ok()
            };
            drop(consumer);
            // Nobody listens any more only when the worker has ended.
            let tell = |event| drop(events.blocking_send(event));
            tell(Event::Committed { of: of.clone(), acknowledged });
            for of in of.into_iter().filter(|_| !is_same) {
                tell(Event::Stopped { of, why: MADE_ANEW.to_owned() });
            }
        });
    }
}
