//! The wiring of a worker, in the order in which a record flows: read this first.
//!
//! ```text
//! consume -> decode -> batch -> write -> commit
//!    ^          |                 |
//! budget        '-> dead letter <-'
//! ```
//! Settings go in; a running worker comes out, and a [`Summary`] when it has drained. No decision about a record is made
//! here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use sluice_schemas::names::Names;
use sluice_schemas::rebootstrap::Rebootstrap;
use sluice_schemas::stores::Stores;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::batch;
use crate::batch::budget::Budget;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::dependants::{Demand, Graph, Graphs, Unfit};
use crate::clickhouse::rebuild::Rebuilds;
use crate::clickhouse::{proof, sight};
use crate::config::{Pipeline, Settings, SettingsError};
use crate::dead_letter::producer::DeadLetters;
use crate::dead_letter::refetch::Refetch;
use crate::dead_letter::sent::SentLetters;
use crate::dead_letter::topic::{UnfitTopic, Watch};
use crate::decode::table::{self, MappingError};
use crate::event::Event;
use crate::failure::Failure;
use crate::kafka::fetch::Supply;
use crate::kafka::standing;
use crate::kafka::topic_config;
use crate::kafka::topic_id::{DescribeError, TopicIds, topic_id};
use crate::lane::assignment::{Assignment, Source, Tools};
use crate::lane::consume::{self, ConsumeError, Context};
use crate::lane::inquiry::{self, Inquiry};
use crate::observe::health::{self, ListenError, Status};
use crate::observe::metrics::Metrics;
use crate::operator::control::Control;
use crate::target::Target;
use crate::write::retry::Class;
use crate::write::{Seen, Writer};

/// Events that may wait for the consume loop; each partition has at most one batch being written.
const EVENTS: usize = 1024;
/// Eighths of the memory budget for batches: so much that one of 100,000 rows can be written while the others fill.
/// librdkafka's queues get [`QUEUE_SHARE`], the rest is for everything else.
const BATCH_EIGHTHS: u64 = 5;
/// Share of the memory budget for records fetched but not yet taken in.
pub(crate) const QUEUE_SHARE: u64 = 8;
/// Most months in a batch, as many as ClickHouse by default takes parts from one INSERT.
const MOST_MONTHS: usize = 100;

/// How long Kafka may take before the log says that it does not answer.
const METADATA_WAIT: Duration = Duration::from_secs(3);

/// What was done, by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Counts by topic, with its namespace.
    pub topics: BTreeMap<String, Counts>,
    /// Whether `drain_deadline` passed before all that was taken in was written and committed; it is consumed again.
    pub is_late: bool,
}

/// What became of the records of a topic while the worker ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken in.
    pub consumed: u64,
    /// Acknowledged by ClickHouse.
    pub landed: u64,
    /// Acknowledged by the dead-letter topic.
    pub dead_lettered: u64,
}

/// A worker that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address for metrics and health is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A pipeline does not fit its table.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// ClickHouse does not answer, or not as it should.
    #[error("read tables from ClickHouse at {url}: {failure}; check that it runs, and [stores.clickhouse]")]
    ClickHouse {
        /// Where it should be.
        url: String,
        /// What happened.
        failure: Failure,
    },
    /// What a worker relies on is not so for this user.
    #[error("start with ClickHouse at {url}: {failure}")]
    Unreliable {
        /// Where it is.
        url: String,
        /// What is not so.
        failure: Failure,
    },
    /// Kafka does not answer.
    #[error("connect to Kafka at {brokers}: {cause}; check that it runs, and [stores.kafka] and ingest.kafka")]
    Kafka {
        /// Where it should be.
        brokers: String,
        /// What its client said.
        cause: KafkaError,
    },
    /// A topic is missing.
    #[error("consume topic {0}: it does not exist; make it (`sluice schemas apply` makes those of the platform)")]
    NoTopic(String),
    /// A topic does not say who it is.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The dead-letter topic would not keep dead letters.
    #[error(transparent)]
    DeadLetterTopic(#[from] UnfitTopic),
    /// The HTTP client cannot be made.
    #[error("prepare the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// A table that an INSERT reaches would count a repeated one twice, or loses rows.
    #[error("start pipeline {topic}: {unfit}")]
    Unfit {
        /// Topic of the pipeline.
        topic: String,
        /// The table and what to do.
        unfit: Unfit,
    },
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
    let share = usize::try_from(settings.memory_budget.0 / 8 * BATCH_EIGHTHS).unwrap_or(usize::MAX);
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
        sources = sources(&settings, &stores, &names, &clickhouse, &status, started) => sources?,
        () = shutdown.cancelled() => return Ok(Summary::default()),
    };
    status.waits_for(None);

    let kafka = settings.client(&stores);
    let connect = |cause| kafka_error(&stores, cause);
    let topic_ids = Arc::new(TopicIds::new(&kafka).map_err(connect)?);
    let asking = standing::client_config(&settings, &stores, &names);
    let inquiry = Inquiry::start(&asking, Arc::clone(&topic_ids), events.clone()).map_err(|error| match error {
        inquiry::Error::Kafka(cause) => connect(cause),
        thread @ inquiry::Error::Thread(_) => Error::Thread(thread.to_string()),
    })?;
    let topics: Vec<_> = settings.enabled().map(|(topic, _)| names.topic(topic)).collect();
    let supply = Supply { brokers, largest_batch: topic_config::largest_batch(&kafka, &topics).await };
    let writer = writer(&settings, &names, &kafka, clickhouse, events, &metrics).map_err(connect)?;
    writer.dead_letters.topic().check(Duration::ZERO).await?;
    let _watch = Watch::over(writer.dead_letters.clone(), Arc::clone(&status));
    let tools = Tools {
        writer: Arc::new(writer),
        budget,
        metrics,
        status,
        inquiry: Arc::new(inquiry),
        topic_ids,
        runtime: Handle::current(),
        lease: settings.lease(),
        breaker: settings.breaker.clone(),
    };
    let assignment = Assignment::new(sources, tools.clone());
    let abandoned = CancellationToken::new();
    let _abandon_on_drop = abandoned.clone().drop_guard();
    let rebootstrap = Rebootstrap::of(&kafka);
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
    let (letters, queue) = (names.topic(&settings.dead_letter_topic), settings.memory_budget.0 / 16 / 1024);
    Ok(Writer {
        clickhouse,
        dead_letters: DeadLetters::new(kafka.clone(), &letters, queue)?,
        sent_letters: SentLetters::new(kafka.clone(), &letters, &names.group("sluice-sent-letters")),
        refetch: Refetch::new(kafka.clone(), &names.group("sluice-refetch")),
        rebuilds: Rebuilds::new(settings.rebuild_timeout),
        retry: settings.retry.clone(),
        demand: Demand::of(settings),
        permits: Semaphore::new(settings.inserts_in_flight),
        seen: Seen::default(),
        graphs: Graphs::default(),
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
    let kafka = consume::config(kafka, settings, &group, settings.memory_budget.0 / QUEUE_SHARE, supply);
    context.probe.0 = kafka.clone();
    let consumer: BaseConsumer<Context> = kafka.create_with_context(context)?;
    consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    info!(group, ?topics, "consuming");
    Ok(consumer)
}

fn kafka_error(stores: &Stores, cause: KafkaError) -> Error {
    Error::Kafka { brokers: stores.kafka.brokers.clone(), cause }
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

/// Every pipeline with its table read and its topic identified, and how many brokers may lead one of their partitions.
async fn sources(
    settings: &Settings,
    stores: &Stores,
    names: &Names,
    clickhouse: &ClickHouse,
    status: &Status,
    until: Instant,
) -> Result<(Vec<Source>, usize), Error> {
    let dead_letter_topic = names.topic(&settings.dead_letter_topic);
    let topics = settings.enabled().map(|(topic, _)| names.topic(topic)).chain([dead_letter_topic]).collect();
    let kafka = settings.client(stores);
    status.waits_for(Some(format!("Kafka at {}", stores.kafka.brokers)));
    let (ids, brokers) = identify(kafka, stores.clone(), topics, until).await?;
    status.waits_for(Some(format!("ClickHouse at {}", stores.clickhouse.url)));
    let unreliable = |failure| Error::Unreliable { url: stores.clickhouse.url.clone(), failure };
    patiently(until, || proof::tokens_are_honoured(clickhouse)).await.map_err(unreliable)?;
    let mut sources = Vec::new();
    for ((topic, pipeline), id) in settings.enabled().zip(ids) {
        let unreadable = |failure| Error::ClickHouse { url: stores.clickhouse.url.clone(), failure };
        let shape = patiently(until, || clickhouse.shape(&pipeline.table)).await.map_err(unreadable)?;
        let plan = table::plan(topic, pipeline, &shape)?;
        let unfit = |unfit| Error::Unfit { topic: topic.clone(), unfit };
        let graph = patiently(until, || Graph::read(clickhouse, &pipeline.table)).await.map_err(unreadable)?;
        let graph = graph.map_err(unfit)?;
        let remembered = graph.remembered(&Demand::of(settings)).map_err(unfit)?;
        patiently(until, || sight::check(clickhouse, &pipeline.table)).await.map_err(unreliable)?;
        let target = Target {
            topic: names.topic(topic).into(),
            topic_id: id,
            database: names.database(),
            table: pipeline.table.clone(),
            insert: plan.insert,
            tenant: pipeline.tenant.clone(),
            remembered,
        };
        let fingerprint = plan.decoder.fingerprint();
        sources.push(Source {
            target: Arc::new(target),
            decoder: plan.decoder,
            fingerprint,
            limits: limits(settings, pipeline),
        });
    }
    Ok((sources, brokers))
}

fn limits(settings: &Settings, pipeline: &Pipeline) -> batch::Limits {
    let Pipeline { max_rows: rows, max_age: age, max_bytes, .. } = *pipeline;
    let (backlog, bytes) = (settings.backlog(pipeline), usize::try_from(max_bytes.0).unwrap_or(usize::MAX));
    batch::Limits { rows, bytes, age, months: MOST_MONTHS, backlog }
}

/// Asks ClickHouse, waiting for it if it only just starts.
async fn patiently<T, F>(until: Instant, ask: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        match ask().await {
            Err(failure) if failure.class == Class::Transient && Instant::now() < until => {
                warn!(%failure, "ClickHouse does not give what a start needs yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return other,
        }
    }
}

/// Checks that the topics exist and asks for their ids, and for the brokers. librdkafka's calls block, so they get a thread.
async fn identify(
    kafka: ClientConfig,
    stores: Stores,
    topics: Vec<String>,
    until: Instant,
) -> Result<(Vec<uuid::Uuid>, usize), Error> {
    let ask = move || {
        let client: BaseConsumer<DefaultConsumerContext> =
            kafka.create().map_err(|cause| kafka_error(&stores, cause))?;
        let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let (mut ids, mut brokers, mut partitions) = (Vec::new(), 0, 0);
        for topic in topics {
            let metadata = metadata(&client, &topic, until).map_err(|cause| kafka_error(&stores, cause))?;
            if metadata.topics().iter().all(|found| found.error().is_some() || found.partitions().is_empty()) {
                return Err(Error::NoTopic(topic));
            }
            brokers = metadata.brokers().len();
            partitions += metadata.topics().iter().map(|topic| topic.partitions().len()).sum::<usize>();
            ids.push(topic_id(client.client(), &topic, left())?);
        }
        Ok((ids, brokers.min(partitions)))
    };
    tokio::task::spawn_blocking(ask).await.map_err(|error| Error::Thread(error.to_string()))?
}

/// Asks for a topic's metadata until Kafka answers, and says so while it does not.
fn metadata(
    client: &BaseConsumer<DefaultConsumerContext>,
    topic: &str,
    until: Instant,
) -> Result<Metadata, KafkaError> {
    loop {
        match client.fetch_metadata(Some(topic), METADATA_WAIT) {
            Err(error) if Instant::now() < until => warn!(%error, topic, "Kafka does not answer yet"),
            other => return other,
        }
    }
}
