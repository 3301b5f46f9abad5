//! What is checked before the first record: that Kafka and ClickHouse answer, that topics exist, that tables fit their
//! pipelines and keep each record once. Settings go in; pipelines that are ready to run come out. It changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use tracing::warn;
use uuid::Uuid;

use crate::batch::limits::Limits;
use crate::clickhouse::client::ClickHouse;
use crate::clickhouse::demand::{Demand, Unfit};
use crate::clickhouse::view_graph::ViewGraph;
use crate::clickhouse::{token_check, visibility};
use crate::config::Settings;
use crate::dead_letter::topic::UnfitTopic;
use crate::decode::table::{self, MappingError};
use crate::failure::{Class, Failure};
use crate::kafka::topic_id::{DescribeError, topic_id};
use crate::lane::source::Source;
use crate::observe::health::Status;
use crate::target::Target;
use crate::write::destination::Destination;
use sluice_schemas::concurrency::blocking;

/// How long Kafka may take before the log says that it does not answer.
const METADATA_WAIT: Duration = Duration::from_secs(3);

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    /// A table that an INSERT reaches would count a repeated one twice, or loses rows.
    #[error("start pipeline {topic}: {unfit}")]
    Unfit {
        /// Topic of the pipeline.
        topic: String,
        /// The table and what to do.
        unfit: Unfit,
    },
}

impl StartError {
    pub(crate) fn kafka(stores: &Stores, cause: KafkaError) -> Self {
        Self::Kafka { brokers: stores.kafka.brokers.clone(), cause }
    }
}

/// Every pipeline with its table read and its topic identified, and how many brokers may lead one of their partitions.
pub(crate) async fn sources(
    settings: &Settings,
    stores: &Stores,
    names: &Names,
    clickhouse: &ClickHouse,
    status: &Status,
    until: Instant,
) -> Result<(Vec<Source>, usize), StartError> {
    let dead_letter_topic = names.topic(&settings.dead_letter_topic);
    let topics = settings.enabled().map(|(topic, _)| names.topic(topic)).chain([dead_letter_topic]).collect();
    let kafka = settings.client(stores);
    status.set_awaited(Some(format!("Kafka at {}", stores.kafka.brokers)));
    let (ids, brokers) = identify(kafka, stores.clone(), topics, until).await?;
    status.set_awaited(Some(format!("ClickHouse at {}", stores.clickhouse.url)));
    let unreliable = |failure| StartError::Unreliable { url: stores.clickhouse.url.clone(), failure };
    patiently(until, || token_check::tokens_are_honoured(clickhouse)).await.map_err(unreliable)?;
    let mut sources = Vec::new();
    for ((topic, pipeline), id) in settings.enabled().zip(ids) {
        let unreadable = |failure| StartError::ClickHouse { url: stores.clickhouse.url.clone(), failure };
        let shape = patiently(until, || clickhouse.shape(&pipeline.table)).await.map_err(unreadable)?;
        let plan = table::plan(topic, pipeline, &shape)?;
        let unfit = |unfit| StartError::Unfit { topic: topic.clone(), unfit };
        let graph = patiently(until, || ViewGraph::read(clickhouse, &pipeline.table)).await.map_err(unreadable)?;
        let remembered = graph.remembered(&Demand::new(settings)).map_err(unfit)?;
        patiently(until, || visibility::check(clickhouse, &pipeline.table)).await.map_err(unreliable)?;
        let target = Target::new(&names.topic(topic), id, names, &pipeline.table);
        let (insert, tenant) = (plan.insert, pipeline.tenant.clone());
        let destination = Destination { target, insert, tenant, remembered };
        let fingerprint = plan.decoder.fingerprint();
        sources.push(Source {
            destination: Arc::new(destination),
            decoder: plan.decoder,
            fingerprint,
            limits: Limits::new(settings, pipeline),
        });
    }
    Ok((sources, brokers))
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
) -> Result<(Vec<Uuid>, usize), StartError> {
    let ask = move || {
        let client: BaseConsumer<DefaultConsumerContext> =
            kafka.create().map_err(|cause| StartError::kafka(&stores, cause))?;
        let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let (mut ids, mut brokers, mut partitions) = (Vec::new(), 0, 0);
        for topic in topics {
            let metadata = metadata(&client, &topic, until).map_err(|cause| StartError::kafka(&stores, cause))?;
            if metadata.topics().iter().all(|found| found.error().is_some() || found.partitions().is_empty()) {
                return Err(StartError::NoTopic(topic));
            }
            brokers = metadata.brokers().len();
            partitions += metadata.topics().iter().map(|topic| topic.partitions().len()).sum::<usize>();
            ids.push(topic_id(client.client(), &topic, left())?);
        }
        Ok((ids, brokers.min(partitions)))
    };
    blocking(ask).await
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
