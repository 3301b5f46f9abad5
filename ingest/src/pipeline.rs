//! The wiring of a worker: creates its parts, connects them and runs them. Read this first. A record flows through the parts
//! in this order:
//!
//! ```text
//! consume -> decode -> batch -> write -> commit
//!    ^          |                 |
//! budget        '-> dead letter <-'
//! ```
//! They are created in the opposite order, because each part needs those after it. This module makes no decision; the checks
//! before the first record are in [`crate::start`].

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
use crate::clickhouse::client::{ClickHouse, ClientError};
use crate::clickhouse::demand::Demand;
use crate::clickhouse::rebuild::Rebuilds;
use crate::clickhouse::view_changes::ViewGraphs;
use crate::config::{Settings, SettingsError};
use crate::dead_letter::producer::DeadLetters;
use crate::dead_letter::refetch::RecordReader;
use crate::dead_letter::sent::SentLetters;
use crate::dead_letter::watch::Watch;
use crate::event::Event;
use crate::kafka::fetch::FetchSource;
use crate::kafka::offsets;
use crate::kafka::topic_config;
use crate::kafka::topic_id::TopicIds;
use crate::lane::assignment::Assignment;
use crate::lane::consume::{self, ConsumeError, Context};
use crate::lane::monitor;
use crate::lane::monitor::Monitor;
use crate::lane::services::Services;
use crate::lane::summary::Summary;
use crate::observe::health::{self, ListenError, Status};
use crate::observe::metrics::Metrics;
use crate::operator::control::Control;
use crate::start::{self, StartError};
use crate::write::{ConfirmedAssignments, Writer};

/// Capacity of the channel to the consume loop; each partition writes at most one batch at a time.
const EVENT_QUEUE: usize = 1024;

/// Why a worker cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Invalid settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address for metrics and health cannot be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A check at start-up failed.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The client of ClickHouse cannot be created.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The consume thread cannot be started, or panicked.
    #[error("run the consume thread: {0}")]
    Thread(String),
    /// The consumer cannot continue.
    #[error("consume: {0}")]
    Consume(ConsumeError),
}

/// Runs a worker until `shutdown`, drains it, and returns a summary. Dropping the future instead ends the worker without any
/// further write or commit.
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
    let (events, receiver) = mpsc::channel(EVENT_QUEUE);
    let (group, prefix) = (names.group(&settings.group), names.topic(""));
    let control = Control { events: events.clone(), group, prefix }.router();
    health::serve(settings.listen, Arc::clone(&metrics), Arc::clone(&status), control, stop_serving).await?;

    let clickhouse = ClickHouse::new(&stores.clickhouse, &names.database(), settings.insert_timeout)?;
    let deadline = Instant::now() + settings.start_deadline;
    let (pipelines, brokers) = tokio::select! {
        checked = start::pipelines(&settings, &stores, &names, &clickhouse, &status, deadline) => checked?,
        () = shutdown.cancelled() => return Ok(Summary::default()),
    };
    status.set_awaited(None);

    let kafka = settings.client(&stores);
    let refuse = |cause| StartError::kafka(&stores, cause);
    let writer = create_writer(&settings, &names, &kafka, clickhouse, events, &metrics).map_err(refuse)?;
    start::check_dead_letter_topic(&writer.dead_letters).await?;
    let _watch = Watch::start(writer.dead_letters.clone(), Arc::clone(&status));
    let services = create_services(&settings, &stores, &names, writer, budget, status)?;
    let topics: Vec<_> = settings.enabled().map(|(topic, _)| names.topic(topic)).collect();
    let fetch_source = FetchSource { brokers, largest_batch: topic_config::largest_batch(&kafka, &topics).await };
    let assignment = Assignment::new(pipelines, services.clone());
    let rebootstrap = Rebootstrap::new(&kafka);
    let context = Context::new(assignment, receiver, services, rebootstrap, settings.revoke_deadline);
    let consumer = subscribe(kafka, &settings, &names, fetch_source, &topics, context).map_err(refuse)?;
    run_on_thread(consumer, shutdown, settings.drain_deadline).await
}

/// Creates the writer that all partitions share.
fn create_writer(
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
        refetch: RecordReader::new(kafka.clone(), &names.group("sluice-refetch")),
        rebuilds: Rebuilds::new(settings.rebuild_timeout),
        retry: settings.retry.clone(),
        demand: Demand::new(settings),
        permits: Semaphore::new(settings.inserts_in_flight),
        confirmed: ConfirmedAssignments::default(),
        graphs: ViewGraphs::default(),
        events,
        metrics: Arc::clone(metrics),
    })
}

/// Creates the services that the lane uses.
fn create_services(
    settings: &Settings,
    stores: &Stores,
    names: &Names,
    writer: Writer,
    budget: Arc<Budget>,
    status: Arc<Status>,
) -> Result<Services, Error> {
    let refuse = |cause| StartError::kafka(stores, cause);
    let topic_ids = Arc::new(TopicIds::new(&settings.client(stores)).map_err(refuse)?);
    let client = offsets::client_config(settings, stores, names);
    let monitor = Monitor::start(&client, Arc::clone(&topic_ids), writer.events.clone());
    let monitor = monitor.map_err(|error| match error {
        monitor::Error::Kafka(cause) => refuse(cause).into(),
        thread @ monitor::Error::Thread(_) => Error::Thread(thread.to_string()),
    })?;
    Ok(Services {
        metrics: Arc::clone(&writer.metrics),
        writer: Arc::new(writer),
        budget,
        status,
        monitor: Arc::new(monitor),
        topic_ids,
        runtime: Handle::current(),
        lease: settings.lease(),
        breaker: settings.breaker.clone(),
    })
}

/// Creates the group member and subscribes it to every topic that has a pipeline.
fn subscribe(
    kafka: ClientConfig,
    settings: &Settings,
    names: &Names,
    fetch_source: FetchSource,
    topics: &[String],
    mut context: Context,
) -> Result<BaseConsumer<Context>, KafkaError> {
    let group = names.group(&settings.group);
    let kafka = consume::config(kafka, settings, &group, settings.queue_bytes(), fetch_source);
    context.probe.0 = kafka.clone();
    let consumer: BaseConsumer<Context> = kafka.create_with_context(context)?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    info!(group, ?topics, "consuming");
    Ok(consumer)
}

/// Runs the consume loop, which blocks, on its own thread and waits for it. The loop ends at once if the future is dropped.
async fn run_on_thread(
    consumer: BaseConsumer<Context>,
    shutdown: CancellationToken,
    drain_deadline: Duration,
) -> Result<Summary, Error> {
    let abandoned = CancellationToken::new();
    let _abandon_on_drop = abandoned.clone().drop_guard();
    let (sender, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("consume".to_owned())
        .spawn(move || {
            // The receiver is dropped only with the whole worker.
            drop(sender.send(consume::run(consumer, &shutdown, drain_deadline, &abandoned)));
        })
        .map_err(|error| Error::Thread(error.to_string()))?;
    let outcome = outcome.await.map_err(|_| Error::Thread("it panicked".to_owned()))?;
    outcome.map_err(Error::Consume)
}
