//! A topic's settings, as Kafka has them in force.
//! A client and the name of a topic go in, its settings come out. It changes none.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tracing::warn;

/// How long Kafka may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The settings of `topic` that have a value.
pub(crate) async fn settings(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
) -> Result<BTreeMap<String, String>, KafkaError> {
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WAIT));
    let answers = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await.map_err(with_code)?;
    let resource = answers.into_iter().next().ok_or(KafkaError::Canceled)?;
    let ConfigResource { entries, .. } = resource.map_err(KafkaError::Global)?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// The same error in a form that says its code.
fn with_code(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::AdminOp(code) => KafkaError::Global(code),
        other => other,
    }
}

/// The largest batch that one of `topics` takes; `None` where Kafka does not say it of each.
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
                    "Kafka does not say how large a batch of the topic may be; grant DescribeConfigs to bound answers by it"
                );
                return None;
            }
        }
    }
    Some(largest)
}
