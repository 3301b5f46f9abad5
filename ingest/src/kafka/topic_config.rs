//! A topic's effective settings.
//! A client and the name of a topic go in, its settings come out. It changes none.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tracing::warn;

/// How long to wait for Kafka's response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of `topic` that have a value.
pub(crate) async fn settings(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
) -> Result<BTreeMap<String, String>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(RESPONSE_TIMEOUT));
    let answers = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await.map_err(with_code)?;
    let resource = answers.into_iter().next().ok_or(KafkaError::Canceled)?;
    let ConfigResource { entries, .. } = resource.map_err(KafkaError::Global)?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// The same error in a variant whose text contains the code.
fn with_code(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::AdminOp(code) => KafkaError::Global(code),
        other => other,
    }
}

/// The largest batch that any of `topics` accepts; `None` if Kafka does not report it for all of them.
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
