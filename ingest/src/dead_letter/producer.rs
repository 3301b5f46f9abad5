//! Sends dead letters to the dead-letter topic.
//! A letter counts as sent only once Kafka has acknowledged it with all replicas in sync. Key, payload and headers stay
//! byte for byte; the facts about the record are added as headers.
//!
//! A letter that is too large for the topic omits some of its parts and states in headers which and how large they are;
//! the record itself remains in its own topic, at the topic, partition and offset in the headers, for that topic's
//! retention. A letter that Kafka refuses for another reason is never dropped: an operator must repair the topic first.
//!
//! # Layout
//! - [`compose`]: the parts of a letter
//! - [`omit`](super::omit): the parts that it omits if it is too large
//! - [`topic`](super::topic): checks whether the topic keeps its letters

use std::borrow::Borrow;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use sluice_schemas::rebootstrap::{Rebootstrap, is_unanswered};
use sluice_schemas::records::DeadLetter;
use tokio::sync::{RwLock, Semaphore};
use tracing::error;

use super::compose;
use super::omit::{Omitted, Sizes, variants};
use super::topic::{CHECK_EVERY, Topic, UnsuitableTopic};
use crate::batch::budget::letter_bytes;
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, Fault, is_injected, reached};

/// How long Kafka may take to acknowledge a dead letter before the attempt counts as failed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of a batch's dead letters that await acknowledgement: bounds the producer's copies.
const MAX_IN_FLIGHT: usize = 256;
/// Maximum size of a dead letter that the client sends; the broker's own limit may be lower.
const MAX_LETTER_BYTES: usize = 16 * 1024 * 1024;
/// Maximum bytes that Kafka adds around a record that is alone in its batch.
const ENVELOPE_BYTES: usize = 128;

/// Sends dead letters.
#[derive(Clone)]
pub struct DeadLetters(Arc<Inner>);

struct Inner {
    kafka: ClientConfig,
    /// Replaced when it fails fatally.
    producer: std::sync::RwLock<FutureProducer>,
    rebootstrap: Rebootstrap,
    topic: Topic,
    /// KiB for the producer's copies. The producer itself counts only payloads, and headers take more than their size.
    memory: Semaphore,
    queue_kib: u32,
    /// Read-locked by letters in flight; write-locked by one sent alone because it may only have been too large for its
    /// batch.
    exclusive: RwLock<()>,
    /// Maximum size of a dead letter that always fits into the producer's empty queue; for a larger one the producer
    /// only reports that its queue is full.
    max_letter_bytes: usize,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// Creates a producer without connecting. `queue_kib` bounds the producer's own queue.
    pub fn new(mut kafka: ClientConfig, topic: &str, queue_kib: u64) -> KafkaResult<Self> {
        let (rebootstrap, topic) = (Rebootstrap::new(&kafka), Topic::new(&kafka, topic)?);
        let queue_kib = u32::try_from(queue_kib.max(1024)).unwrap_or(u32::MAX / 1024);
        let max_letter_bytes = (queue_kib as usize * 1024 / 4 * 3).min(MAX_LETTER_BYTES);
        kafka
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", MAX_LETTER_BYTES.to_string())
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.kbytes", queue_kib.to_string());
        let producer = std::sync::RwLock::new(kafka.create()?);
        let memory = Semaphore::new(queue_kib as usize);
        let exclusive = RwLock::default();
        Ok(Self(Arc::new(Inner {
            kafka,
            producer,
            rebootstrap,
            topic,
            memory,
            queue_kib,
            exclusive,
            max_letter_bytes,
        })))
    }

    /// The dead-letter topic.
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }

    /// Sends `letters` and returns once each is acknowledged by a topic that keeps them.
    pub async fn send<L: Borrow<DeadLetter>>(&self, letters: &[L]) -> Result<(), Failure> {
        let limit = self.0.topic.check(CHECK_EVERY).await.map_err(|unsuitable| topic_failure(&unsuitable))?;
        let mut in_flight = FuturesUnordered::new();
        for letter in letters {
            in_flight.push(self.0.send(letter.borrow(), limit.max_bytes));
            if in_flight.len() >= MAX_IN_FLIGHT {
                in_flight.try_next().await?;
            }
        }
        in_flight.try_collect().await
    }
}

impl Inner {
    async fn send(&self, letter: &DeadLetter, max_bytes: Option<usize>) -> Result<(), Failure> {
        let sent = match self.try_send(letter, max_bytes).await {
            Err(error) if is_refusal(&error) => {
                // The topic's settings may have just been changed.
                self.topic.check(Duration::ZERO).await.map_err(|unsuitable| topic_failure(&unsuitable))?;
                Err(error)
            }
            other => other,
        };
        reached(Failpoint::Letter);
        sent.map_err(|error| failure(self.topic.name(), &error))
    }

    /// Sends a letter, complete or with as few parts omitted as possible.
    async fn try_send(&self, letter: &DeadLetter, max_bytes: Option<usize>) -> KafkaResult<()> {
        let copied = u32::try_from(letter_bytes(letter) / 1024 + 1).unwrap_or(u32::MAX);
        let _copy = self.memory.acquire_many(copied.min(self.queue_kib)).await.expect("this semaphore is never closed");
        let sizes = sizes(letter);
        let is_small = sizes.payload + sizes.headers + sizes.key <= self.max_letter_bytes;
        let mut sent = Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
        if is_small {
            let shared = self.exclusive.read().await;
            sent = self.deliver(letter, Omitted::default()).await;
            drop(shared);
        }
        if !is_too_large(&sent) {
            return sent;
        }
        let _exclusive = self.exclusive.write().await;
        if is_small {
            // The batch may have been too large, rather than this letter.
            sent = self.deliver(letter, Omitted::default()).await;
        }
        for without in variants(sizes, room(letter, max_bytes, self.max_letter_bytes)) {
            if !is_too_large(&sent) || (without.key && is_injected(Fault::NeverOmitKey)) {
                break;
            }
            log_omission(letter, without);
            sent = self.deliver(letter, without).await;
        }
        sent
    }

    async fn deliver(&self, letter: &DeadLetter, without: Omitted) -> KafkaResult<()> {
        let mut record = FutureRecord::<[u8], [u8]>::to(self.topic.name());
        record = record.headers(compose::headers_without(letter, without));
        record.key = letter.key.as_deref().filter(|_| !without.key);
        record.payload = letter.payload.as_deref().filter(|_| !without.payload);
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner).clone();
        fail_for_test(&producer);
        let sent = producer.send(record, DELIVERY_TIMEOUT).await.map_err(|(error, _)| error);
        if sent.as_ref().is_err_and(is_unanswered) {
            self.rebootstrap.add_servers(producer.client());
        }
        if sent.is_err() {
            self.replace_if_failed(&producer);
        }
        sent.map(drop)
    }

    /// Replaces a producer that has failed fatally. An idempotent producer does so if it has lost track of its sequence
    /// numbers: every further send fails at once. The new producer sends the letters in flight again; a letter that is
    /// then in the topic twice counts once.
    fn replace_if_failed(&self, failed: &FutureProducer) {
        let Some((code, reason)) = failed.client().fatal_error() else { return };
        if is_injected(Fault::KeepBrokenProducer) {
            return;
        }
        let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if producer.client().native_ptr() != failed.client().native_ptr() {
            return;
        }
        match self.kafka.create() {
            Ok(replacement) => {
                tracing::warn!(%code, reason, "the producer of dead letters has failed fatally and was replaced");
                *producer = replacement;
            }
            Err(error) => {
                error!(%error, %code, reason, "the producer of dead letters has failed fatally and cannot be replaced");
            }
        }
    }
}

/// Bytes available for the parts that a letter may omit.
fn room(letter: &DeadLetter, max_bytes: Option<usize>, max_letter_bytes: usize) -> usize {
    let without = Omitted { payload: true, headers: true, key: true };
    let header_bytes: usize = {
        use rdkafka::message::Headers;
        let headers = compose::headers_without(letter, without);
        headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len) + 4).sum()
    };
    max_bytes
        .map_or(max_letter_bytes, |bytes| bytes.min(max_letter_bytes))
        .saturating_sub(header_bytes + ENVELOPE_BYTES)
}

fn sizes(letter: &DeadLetter) -> Sizes {
    let length = |bytes: Option<&Vec<u8>>| bytes.map_or(0, Vec::len);
    // A header has two lengths of up to three bytes each.
    let headers = compose::header_bytes(letter) + letter.headers.len() * 6;
    Sizes { payload: length(letter.payload.as_ref()), headers, key: length(letter.key.as_ref()) }
}

fn log_omission(letter: &DeadLetter, without: Omitted) {
    let Sizes { payload, headers, key } = sizes(letter);
    error!(
        topic = letter.topic,
        partition = letter.partition,
        offset = letter.offset,
        payload = without.payload.then_some(payload),
        headers = without.headers.then_some(headers),
        key = without.key.then_some(key),
        "dead letter is too large for its topic or its producer; these parts (in bytes) remain only in their own topic, \
         for its retention; raise max.message.bytes of the dead-letter topic",
    );
}

fn is_too_large(sent: &KafkaResult<()>) -> bool {
    let codes = [RDKafkaErrorCode::MessageSizeTooLarge, RDKafkaErrorCode::InvalidMessageSize];
    matches!(sent, Err(KafkaError::MessageProduction(code)) if codes.contains(code))
}

/// Whether Kafka has refused a letter and will refuse it again.
fn is_refusal(error: &KafkaError) -> bool {
    class(error) == Class::Operator
}

/// Whether to wait for Kafka or for an operator.
pub fn class(error: &KafkaError) -> Class {
    match error.rdkafka_error_code() {
        Some(code) if remedy(code).is_some() => Class::Operator,
        _ => Class::Transient,
    }
}

/// What an operator must do about a refusal that waiting does not resolve.
fn remedy(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    Some(match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
            "create the topic (`sluice schemas apply`), or correct ingest.dead_letter_topic"
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "grant the worker's user Describe, DescribeConfigs, Read and Write on the topic"
        }
        Code::SaslAuthenticationFailed => "correct the login in ingest.kafka",
        Code::PolicyViolation => "a broker policy forbids it: have the policy allow it for this topic",
        Code::InvalidRecord => {
            "the brokers reject the record as invalid: the topic must not be compacted (cleanup.policy=delete)"
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            "even without payload, headers and key it is too large: raise max.message.bytes of the topic"
        }
        Code::InvalidTimestamp => {
            "the brokers reject its timestamp: correct the clocks, or message.timestamp.after.max.ms of the topic"
        }
        Code::UnsupportedForMessageFormat => {
            "headers need message.format.version 0.11 or later: raise that of the topic"
        }
        _ => return None,
    })
}

fn topic_failure(unsuitable: &UnsuitableTopic) -> Failure {
    Failure::new(Class::Operator, unsuitable.to_string())
}

fn failure(topic: &str, error: &KafkaError) -> Failure {
    let (class, code) = (class(error), error.rdkafka_error_code());
    let message = match code.map(|code| (code, remedy(code))) {
        None => "Kafka did not acknowledge a dead letter (no response)".to_owned(),
        Some((code, None)) => format!("Kafka did not acknowledge a dead letter ({code})"),
        Some((code, Some(remedy))) => format!("topic {topic} refuses a dead letter ({code}); {remedy}"),
    };
    Failure::new(class, message)
}

/// Makes the first producer fail fatally, if a test injects this.
#[cfg(debug_assertions)]
#[expect(unsafe_code, reason = "librdkafka's call for this has no safe wrapper")]
fn fail_for_test(producer: &FutureProducer) {
    use std::sync::atomic::{AtomicBool, Ordering};
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    if is_injected(Fault::BreakProducer) && !IS_DONE.swap(true, Ordering::Relaxed) {
        let code = rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the client lives for the whole call, and librdkafka copies the text.
        unsafe {
            rdkafka::bindings::rd_kafka_test_fatal_error(producer.client().native_ptr(), code, c"a test".as_ptr())
        };
    }
}

#[cfg(not(debug_assertions))]
const fn fail_for_test(_: &FutureProducer) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_persist_need_an_operator() {
        use RDKafkaErrorCode as Code;
        let class_of = |code| class(&KafkaError::MessageProduction(code));
        for code in
            [Code::InvalidRecord, Code::MessageSizeTooLarge, Code::PolicyViolation, Code::TopicAuthorizationFailed]
        {
            assert_eq!(class_of(code), Class::Operator, "{code}");
        }
        for code in [
            Code::MessageTimedOut,
            Code::NotEnoughReplicas,
            Code::Fatal,
            Code::QueueFull,
            Code::OutOfOrderSequenceNumber,
        ] {
            assert_eq!(class_of(code), Class::Transient, "{code}");
        }
    }

    #[test]
    fn a_refusal_states_the_remedy() {
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord);
        let message = failure("ns.errors", &error).to_string();
        assert!(
            message.contains("topic ns.errors refuses a dead letter") && message.contains("cleanup.policy=delete"),
            "{message}"
        );
    }
}
