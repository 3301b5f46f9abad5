//! Removes the records that drives have sent to Kafka. The topics and their offsets stay, so a worker that has read them all goes on
//! where it is. The load itself writes nothing to Kafka.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset, TopicPartitionList};
use sluice_schemas::concurrency::blocking;
use sluice_schemas::connect;
use sluice_schemas::names::topic;

use super::error::LoadError;
use super::job::Job;

/// Timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn restore(job: Job<'_>) -> Result<(), LoadError> {
    let config = connect::kafka_config(job.stores);
    let reader: BaseConsumer = config.create()?;
    let topics = [topic::COMMUNICATION_EVENTS, topic::AGENT_METRICS, topic::CUSTOMER_INTERACTIONS];
    let topics = topics.map(|topic| job.names.topic(topic));
    let ends = blocking(move || ends(&reader, &topics)).await?;
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let deleted = admin.delete_records(&ends, &options).await?;
    let errors = deleted.elements().into_iter().filter_map(|partition| partition.error().err());
    errors.map(LoadError::from).next().map_or(Ok(()), Err)
}

/// Every partition of the topics, with its end. Blocks the thread.
fn ends(reader: &BaseConsumer, topics: &[String]) -> Result<TopicPartitionList, KafkaError> {
    let mut ends = TopicPartitionList::new();
    for topic in topics {
        let metadata = reader.fetch_metadata(Some(topic), TIMEOUT)?;
        for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
            ends.add_partition_offset(topic, partition.id(), Offset::End)?;
        }
    }
    Ok(ends)
}
