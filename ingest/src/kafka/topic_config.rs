//! Reads a topic's effective settings. It changes none.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tracing::warn;

/// How long to wait for Kafka's response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the settings of `topic` that have a value.
pub(crate) async fn settings(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
) -> Result<BTreeMap<String, String>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(RESPONSE_TIMEOUT));
    let resources = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await.map_err(with_code)?;
    let resource = resources.into_iter().next().ok_or(KafkaError::Canceled)?;
    let ConfigResource { entries, .. } = resource.map_err(KafkaError::Global)?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// Converts an error to a variant whose text contains the code.
fn with_code(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::AdminOp(code) => KafkaError::Global(code),
        other => other,
    }
}

/// Returns the largest batch that any of `topics` accepts; `None` if Kafka does not report it for all of them.
pub(crate) async fn largest_batch(kafka: &ClientConfig, topics: &[String]) -> Option<u64> {
    let admin: AdminClient<_> = kafka.create().ok()?;
    let mut largest = 0;
    for topic in topics {
        match settings(&admin, topic).await {
            Ok(settings) => largest = largest.max(settings.get("max.message.bytes")?.parse().ok()?),
            Err(error) => {
                warn!(
                    topic,
                    %error,
                    "cannot read the topic's maximum batch size; grant DescribeConfigs to bound responses by it"
                );
                return None;
            }
        }
    }
    Some(largest)
}
