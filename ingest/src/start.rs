//! Checks before the first record: Kafka and ClickHouse respond, the topics exist, and each table fits its pipeline and keeps
//! each record once; the dead-letter topic keeps its letters. It changes nothing.

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
use crate::clickhouse::demand::{Demand, UnsuitableTable};
use crate::clickhouse::view_graph::ViewGraph;
use crate::clickhouse::{token_check, visibility};
use crate::config::Settings;
use crate::dead_letter::producer::DeadLetters;
use crate::dead_letter::topic::UnsuitableTopic;
use crate::decode::table::{self, MappingError};
use crate::failure::{Class, Failure};
use crate::kafka::topic_id::{DescribeError, topic_id};
use crate::lane::ready_pipeline::ReadyPipeline;
use crate::observe::health::Status;
use crate::target::Target;
use crate::write::destination::Destination;
use sluice_schemas::concurrency::blocking;

/// Timeout of one metadata request; each failed request is logged.
const METADATA_WAIT: Duration = Duration::from_secs(3);

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A pipeline does not fit its table.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// A table cannot be read from ClickHouse.
    #[error("read tables from ClickHouse at {url}: {failure}; check that it runs, and [stores.clickhouse]")]
    ClickHouse {
        /// Configured URL.
        url: String,
        /// The cause.
        failure: Failure,
    },
    /// ClickHouse does not behave as a worker requires, for this user.
    #[error("start with ClickHouse at {url}: {failure}")]
    Unreliable {
        /// Configured URL.
        url: String,
        /// The unmet requirement.
        failure: Failure,
    },
    /// Kafka does not respond.
    #[error("connect to Kafka at {brokers}: {cause}; check that it runs, and [stores.kafka] and ingest.kafka")]
    Kafka {
        /// Configured bootstrap servers.
        brokers: String,
        /// Error of the client.
        cause: KafkaError,
    },
    /// A topic is missing.
    #[error("consume topic {0}: it does not exist; create it (`sluice schemas apply` creates those of the platform)")]
    NoTopic(String),
    /// A topic's ID cannot be resolved.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The dead-letter topic's settings would lose dead letters.
    #[error(transparent)]
    DeadLetterTopic(#[from] UnsuitableTopic),
    /// A table that an INSERT reaches would store a repeated INSERT twice, or would lose rows.
    #[error("start pipeline {topic}: {unsuitable}")]
    UnsuitableTable {
        /// Topic of the pipeline.
        topic: String,
        /// The table and the remedy.
        unsuitable: UnsuitableTable,
    },
}

impl StartError {
    pub(crate) fn kafka(stores: &Stores, cause: KafkaError) -> Self {
        Self::Kafka { brokers: stores.kafka.brokers.clone(), cause }
    }
}

/// Returns every pipeline, with the columns of its table and the ID of its topic, and the number of brokers that may lead
/// their partitions.
pub(crate) async fn pipelines(
    settings: &Settings,
    stores: &Stores,
    names: &Names,
    clickhouse: &ClickHouse,
    status: &Status,
    deadline: Instant,
) -> Result<(Vec<ReadyPipeline>, usize), StartError> {
    let dead_letter_topic = names.topic(&settings.dead_letter_topic);
    let topics = settings.enabled().map(|(topic, _)| names.topic(topic)).chain([dead_letter_topic]).collect();
    let kafka = settings.client(stores);
    status.set_awaited(Some(format!("Kafka at {}", stores.kafka.brokers)));
    let (ids, brokers) = resolve_topics(kafka, stores.clone(), topics, deadline).await?;
    status.set_awaited(Some(format!("ClickHouse at {}", stores.clickhouse.url)));
    let unreliable = |failure| StartError::Unreliable { url: stores.clickhouse.url.clone(), failure };
    retry_transient(deadline, || token_check::check_tokens(clickhouse)).await.map_err(unreliable)?;
    let mut ready = Vec::new();
    for ((topic, pipeline), id) in settings.enabled().zip(ids) {
        let unreadable = |failure| StartError::ClickHouse { url: stores.clickhouse.url.clone(), failure };
        let shape = retry_transient(deadline, || clickhouse.shape(&pipeline.table)).await.map_err(unreadable)?;
        let plan = table::plan(topic, pipeline, &shape)?;
        let unsuitable = |unsuitable| StartError::UnsuitableTable { topic: topic.clone(), unsuitable };
        let graph =
            retry_transient(deadline, || ViewGraph::read(clickhouse, &pipeline.table)).await.map_err(unreadable)?;
        let token_retention = graph.token_retention(&Demand::new(settings)).map_err(unsuitable)?;
        retry_transient(deadline, || visibility::check(clickhouse, &pipeline.table)).await.map_err(unreliable)?;
        let target = Target::new(&names.topic(topic), id, names, &pipeline.table);
        let (insert, tenant) = (plan.insert, pipeline.tenant.clone());
        let destination = Destination { target, insert, tenant, token_retention };
        let fingerprint = plan.decoder.fingerprint();
        ready.push(ReadyPipeline {
            destination: Arc::new(destination),
            decoder: plan.decoder,
            fingerprint,
            limits: Limits::new(settings, pipeline),
        });
    }
    Ok((ready, brokers))
}

/// Checks that the dead-letter topic keeps its letters. It passes if Kafka does not report the topic's settings; they are read
/// again while the worker runs.
pub(crate) async fn check_dead_letter_topic(letters: &DeadLetters) -> Result<(), StartError> {
    letters.topic().check(Duration::ZERO).await?;
    Ok(())
}

/// Retries a query until `deadline` while its failure is transient, for example because ClickHouse is still starting.
async fn retry_transient<T, F>(deadline: Instant, query: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        match query().await {
            Err(failure) if failure.class == Class::Transient && Instant::now() < deadline => {
                warn!(%failure, "a start-up query to ClickHouse failed; retrying");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return other,
        }
    }
}

/// Checks that the topics exist and returns their IDs and the number of brokers. librdkafka's calls block, so they run on a
/// blocking thread.
async fn resolve_topics(
    kafka: ClientConfig,
    stores: Stores,
    topics: Vec<String>,
    deadline: Instant,
) -> Result<(Vec<Uuid>, usize), StartError> {
    let resolve = move || {
        let client: BaseConsumer<DefaultConsumerContext> =
            kafka.create().map_err(|cause| StartError::kafka(&stores, cause))?;
        let remaining = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
        let (mut ids, mut brokers, mut partitions) = (Vec::new(), 0, 0);
        for topic in topics {
            let metadata = metadata(&client, &topic, deadline).map_err(|cause| StartError::kafka(&stores, cause))?;
            if metadata.topics().iter().all(|found| found.error().is_some() || found.partitions().is_empty()) {
                return Err(StartError::NoTopic(topic));
            }
            brokers = metadata.brokers().len();
            partitions += metadata.topics().iter().map(|topic| topic.partitions().len()).sum::<usize>();
            ids.push(topic_id(client.client(), &topic, remaining())?);
        }
        Ok((ids, brokers.min(partitions)))
    };
    blocking(resolve).await
}

/// Requests a topic's metadata until Kafka responds or `deadline` passes, and logs each failure.
fn metadata(
    client: &BaseConsumer<DefaultConsumerContext>,
    topic: &str,
    deadline: Instant,
) -> Result<Metadata, KafkaError> {
    loop {
        match client.fetch_metadata(Some(topic), METADATA_WAIT) {
            Err(error) if Instant::now() < deadline => warn!(%error, topic, "Kafka does not respond; retrying"),
            other => return other,
        }
    }
}
