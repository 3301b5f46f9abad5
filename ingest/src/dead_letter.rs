//! Where records go that cannot land: the dead-letter topic.
//! Dead letters go in; they count as sent only when Kafka has acknowledged every one with all replicas in sync. Key,
//! payload and headers stay byte for byte; what is said about the record travels in headers of our own.
//!
//! A record too large for the dead-letter topic is sent without its payload and with [`header::PAYLOAD_BYTES`]; the
//! payload itself stays in its topic, at the topic, partition and offset in the headers, for that topic's retention.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use sluice_schemas::rebootstrap::{Rebootstrap, is_unanswered};
use sluice_schemas::records::{DeadLetter, dead_letter_header as header};
use tracing::error;
use uuid::Uuid;

use crate::headers as record_headers;
use crate::retry::Class;
use crate::write::failure::Failure;

/// How long Kafka may take to acknowledge a dead letter before the attempt counts as failed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Dead letters of a batch that wait for their acknowledgement at the same time: the producer's copies stay few.
const AT_ONCE: usize = 256;
/// Largest dead letter the client passes on; the broker's own limit may be lower.
const LARGEST: usize = 16 * 1024 * 1024;

/// Sends dead letters.
#[derive(Clone)]
pub struct DeadLetters {
    producer: FutureProducer,
    rebootstrap: Arc<Rebootstrap>,
    topic: String,
    /// Most bytes of a dead letter that surely fit into the producer's memory; it says of larger ones only that it is full.
    largest: usize,
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// Opens no connection yet. `queue_kib` bounds the producer's own memory.
    pub fn new(mut kafka: ClientConfig, topic: &str, queue_kib: u64) -> KafkaResult<Self> {
        let rebootstrap = Arc::new(Rebootstrap::of(&kafka));
        let queue_kib = queue_kib.max(1024);
        let largest = usize::try_from(queue_kib.saturating_mul(1024) / 4 * 3).unwrap_or(LARGEST).min(LARGEST);
        let producer = kafka
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", LARGEST.to_string())
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.kbytes", queue_kib.to_string())
            .create()?;
        Ok(Self { producer, rebootstrap, topic: topic.to_owned(), largest })
    }

    /// Sends all of them; returns when every one is acknowledged.
    pub async fn send(&self, letters: &[DeadLetter]) -> Result<(), Failure> {
        let mut on_their_way = FuturesUnordered::new();
        for letter in letters {
            on_their_way.push(self.send_one(letter));
            if on_their_way.len() >= AT_ONCE {
                on_their_way.try_next().await?;
            }
        }
        on_their_way.try_collect().await
    }

    async fn send_one(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let sent = if letter.payload.as_ref().is_some_and(|payload| payload.len() > self.largest) {
            self.send_without_payload(letter).await
        } else {
            match self.deliver(letter, letter.payload.as_deref(), headers(letter)).await {
                Err(KafkaError::MessageProduction(
                    RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize,
                )) => self.send_without_payload(letter).await,
                other => other,
            }
        };
        sent.map_err(|error| failure(&error))
    }

    async fn send_without_payload(&self, letter: &DeadLetter) -> KafkaResult<()> {
        let bytes = letter.payload.as_ref().map_or(0, Vec::len).to_string();
        error!(
            topic = letter.topic,
            partition = letter.partition,
            offset = letter.offset,
            bytes,
            "dead letter is too large for its topic or its producer; its payload stays where it came from, for that topic's retention",
        );
        let headers = OwnedHeaders::new().insert(Header { key: header::PAYLOAD_BYTES, value: Some(&bytes) });
        self.deliver(letter, None, about(letter, headers)).await
    }

    async fn deliver(&self, letter: &DeadLetter, payload: Option<&[u8]>, headers: OwnedHeaders) -> KafkaResult<()> {
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).headers(headers);
        record.key = letter.key.as_deref();
        record.payload = payload;
        let sent = self.producer.send(record, DELIVERY_TIMEOUT).await.map_err(|(error, _)| error);
        if sent.as_ref().is_err_and(is_unanswered) {
            self.rebootstrap.tell(self.producer.client());
        }
        sent.map(drop)
    }
}

/// The dead letter of a record of the topic `topic_id`. Its tenant, where nobody could read one, is that of a key of the
/// form `tenant:customer`.
pub fn of(
    message: &BorrowedMessage<'_>,
    topic_id: Uuid,
    reason: &str,
    stage: &str,
    attempts: u32,
    tenant: Option<Uuid>,
) -> DeadLetter {
    DeadLetter {
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: record_headers::of(message),
        reason: reason.to_owned(),
        stage: stage.to_owned(),
        error_class: Class::Row.as_str().to_owned(),
        topic: message.topic().to_owned(),
        topic_id,
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        attempts,
        tenant_id: tenant.or_else(|| tenant_in_key(message.key()?)),
    }
}

/// The tenant that a payload names at a dotted path.
pub fn tenant_at(payload: &[u8], path: &str) -> Option<Uuid> {
    let record: serde_json::Value = serde_json::from_slice(payload).ok()?;
    let field = path.split('.').try_fold(&record, |value, name| value.get(name))?;
    Uuid::try_parse(field.as_str()?).ok().filter(|tenant| !tenant.is_nil())
}

/// The tenant in a key of the form `tenant_id:customer_id`.
fn tenant_in_key(key: &[u8]) -> Option<Uuid> {
    let (tenant, rest) = key.split_at_checked(36)?;
    if rest.first() == Some(&b':') { Uuid::try_parse_ascii(tenant).ok() } else { None }
}

/// The record's own headers, then what is said about it.
pub fn headers(letter: &DeadLetter) -> OwnedHeaders {
    let own = letter
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
    about(letter, own)
}

fn about(letter: &DeadLetter, headers: OwnedHeaders) -> OwnedHeaders {
    let timestamp = letter.timestamp_ms.map(|millis| millis.to_string());
    let tenant = letter.tenant_id.map(|id| id.to_string());
    let texts = [
        (header::REASON, Some(letter.reason.clone())),
        (header::STAGE, Some(letter.stage.clone())),
        (header::ERROR_CLASS, Some(letter.error_class.clone())),
        (header::TOPIC, Some(letter.topic.clone())),
        (header::TOPIC_ID, Some(letter.topic_id.to_string())),
        (header::PARTITION, Some(letter.partition.to_string())),
        (header::OFFSET, Some(letter.offset.to_string())),
        (header::TIMESTAMP, timestamp),
        (header::ATTEMPTS, Some(letter.attempts.to_string())),
        (header::TENANT, tenant),
    ];
    texts.into_iter().fold(headers, |headers, (key, value)| match value {
        Some(value) => headers.insert(Header { key, value: Some(&value) }),
        None => headers,
    })
}

/// Whether Kafka has to be waited for, or an operator.
pub fn class(error: &KafkaError) -> Class {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::PolicyViolation,
        ) => Class::Operator,
        _ => Class::Transient,
    }
}

fn failure(error: &KafkaError) -> Failure {
    let (class, code) = (class(error), error.rdkafka_error_code());
    let code = code.map_or_else(|| "no answer".to_owned(), |code| code.to_string());
    let what = format!("Kafka did not acknowledge a dead letter ({code})");
    Failure::new(class, what)
}
