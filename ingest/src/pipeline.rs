//! The wiring of a worker, in the order in which a record flows: read this first.
//!
//! ```text
//! consume -> decode -> batch -> write -> commit
//!    ^          |                 |
//! budget        '-> dead letter <-'
//! ```
//! Settings go in; a running worker comes out, and a [`Summary`] when it has drained. No decision about a record is made
//! here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use sluice_schemas::names::Names;
use sluice_schemas::rebootstrap::Rebootstrap;
use sluice_schemas::stores::Stores;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::batch::budget::Budget;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::demand::Demand;
use crate::clickhouse::rebuild::Rebuilds;
use crate::clickhouse::view_changes::ViewGraphs;
use crate::config::{Settings, SettingsError};
use crate::dead_letter::producer::DeadLetters;
use crate::dead_letter::refetch::Refetch;
use crate::dead_letter::sent::SentLetters;
use crate::dead_letter::watch::Watch;
use crate::event::Event;
use crate::kafka::fetch::Supply;
use crate::kafka::offsets;
use crate::kafka::topic_config;
use crate::kafka::topic_id::TopicIds;
use crate::lane::assignment::Assignment;
use crate::lane::consume::{self, ConsumeError, Context};
use crate::lane::monitor;
use crate::lane::monitor::Monitor;
use crate::lane::summary::Summary;
use crate::lane::tools::Tools;
use crate::observe::health::{self, ListenError, Status};
use crate::observe::metrics::Metrics;
use crate::operator::control::Control;
use crate::start::{self, StartError};
use crate::write::{SeenAssignments, Writer};

/// Events that may wait for the consume loop; each partition has at most one batch being written.
const EVENTS: usize = 1024;

/// A worker that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address for metrics and health is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something that a worker needs is missing or unfit.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The HTTP client cannot be made.
    #[error("prepare the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The consume thread cannot be started or broke.
    #[error("run the consume thread: {0}")]
    Thread(String),
    /// The consumer can not go on.
    #[error("consume: {0}")]
    Consume(ConsumeError),
}

/// Runs a worker until `shutdown`, drains it, and says what it did. Dropping the future instead ends the worker without
/// writing or committing anything more.
pub async fn run(
    settings: Settings,
    stores: Stores,
    names: Names,
    shutdown: CancellationToken,
) -> Result<Summary, Error> {
    settings.check()?;
    let share = settings.batch_bytes();
    let (budget, metrics) = (Budget::new(share, settings.enabled().count()), Arc::new(Metrics::new(share)));
    let status = Arc::new(Status::new(settings.hung_after()));
    let stop_serving = CancellationToken::new();
    let _guard = stop_serving.clone().drop_guard();
    let (events, events_in) = mpsc::channel(EVENTS);
    let (group, prefix) = (names.group(&settings.group), names.topic(""));
    let control = Control { events: events.clone(), group, prefix }.router();
    health::serve(settings.listen, Arc::clone(&metrics), Arc::clone(&status), control, stop_serving).await?;

    let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), settings.insert_timeout)?;
    let started = Instant::now() + settings.start_deadline;
    let (sources, brokers) = tokio::select! {
        sources = start::sources(&settings, &stores, &names, &clickhouse, &status, started) => sources?,
        () = shutdown.cancelled() => return Ok(Summary::default()),
    };
    status.set_awaited(None);

    let kafka = settings.client(&stores);
    let connect = |cause| StartError::kafka(&stores, cause);
    let topic_ids = Arc::new(TopicIds::new(&kafka).map_err(connect)?);
    let asking = offsets::client_config(&settings, &stores, &names);
    let monitor = Monitor::start(&asking, Arc::clone(&topic_ids), events.clone()).map_err(|error| match error {
        monitor::Error::Kafka(cause) => connect(cause).into(),
        thread @ monitor::Error::Thread(_) => Error::Thread(thread.to_string()),
    })?;
    let topics: Vec<_> = settings.enabled().map(|(topic, _)| names.topic(topic)).collect();
    let supply = Supply { brokers, largest_batch: topic_config::largest_batch(&kafka, &topics).await };
    let writer = writer(&settings, &names, &kafka, clickhouse, events, &metrics).map_err(connect)?;
    writer.dead_letters.topic().check(Duration::ZERO).await.map_err(StartError::from)?;
    let _watch = Watch::start(writer.dead_letters.clone(), Arc::clone(&status));
    let tools = Tools {
        writer: Arc::new(writer),
        budget,
        metrics,
        status,
        monitor: Arc::new(monitor),
        topic_ids,
        runtime: Handle::current(),
        lease: settings.lease(),
        breaker: settings.breaker.clone(),
    };
    let assignment = Assignment::new(sources, tools.clone());
    let abandoned = CancellationToken::new();
    let _abandon_on_drop = abandoned.clone().drop_guard();
    let rebootstrap = Rebootstrap::new(&kafka);
    let context = Context::new(assignment, events_in, tools, rebootstrap, settings.revoke_deadline);
    let consumer = subscribed(kafka, &settings, &names, supply, &topics, context).map_err(connect)?;
    on_its_own_thread(consumer, shutdown, settings.drain_deadline, abandoned).await
}

/// What makes batches durable.
fn writer(
    settings: &Settings,
    names: &Names,
    kafka: &ClientConfig,
    clickhouse: ClickHouse,
    events: mpsc::Sender<Event>,
    metrics: &Arc<Metrics>,
) -> Result<Writer, KafkaError> {
    let (letters, queue) = (names.topic(&settings.dead_letter_topic), settings.dead_letter_kib());
    Ok(Writer {
        clickhouse,
        dead_letters: DeadLetters::new(kafka.clone(), &letters, queue)?,
        sent_letters: SentLetters::new(kafka.clone(), &letters, &names.group("sluice-sent-letters")),
        refetch: Refetch::new(kafka.clone(), &names.group("sluice-refetch")),
        rebuilds: Rebuilds::new(settings.rebuild_timeout),
        retry: settings.retry.clone(),
        demand: Demand::new(settings),
        permits: Semaphore::new(settings.inserts_in_flight),
        seen: SeenAssignments::default(),
        graphs: ViewGraphs::default(),
        events,
        metrics: Arc::clone(metrics),
    })
}

/// A member of the group, of all topics that have a pipeline.
fn subscribed(
    kafka: ClientConfig,
    settings: &Settings,
    names: &Names,
    supply: Supply,
    topics: &[String],
    mut context: Context,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let group = names.group(&settings.group);
    let kafka = consume::config(kafka, settings, &group, settings.queue_bytes(), supply);
    context.probe.0 = kafka.clone();
    let consumer: BaseConsumer<Context> = kafka.create_with_context(context)?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    info!(group, ?topics, "consuming");
    Ok(consumer)
}

/// The consume loop blocks, so it gets a thread; this waits for it.
async fn on_its_own_thread(
    consumer: BaseConsumer<Context>,
    shutdown: CancellationToken,
    drain_deadline: Duration,
    abandoned: CancellationToken,
) -> Result<Summary, Error> {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("consume".to_owned())
        .spawn(move || {
            // The receiver is gone only if the whole worker is; nobody is left to tell.
            drop(done.send(consume::run(consumer, &shutdown, drain_deadline, &abandoned)));
        })
        .map_err(|error| Error::Thread(error.to_string()))?;
    let outcome = ended.await.map_err(|_| Error::Thread("it panicked".to_owned()))?;
    outcome.map_err(Error::Consume)
}
