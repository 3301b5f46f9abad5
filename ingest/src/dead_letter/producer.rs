//! Where records go that cannot land: the dead-letter topic.
//! Dead letters go in; they count as sent only when Kafka has acknowledged every one with all replicas in sync. Key,
//! payload and headers stay byte for byte; what is said about the record travels in headers of our own.
//!
//! A letter that is too large for the topic goes without some of its parts, and says in headers which and how large they
//! are; the record itself stays in its own topic, at the topic, partition and offset in the headers, for that topic's
//! retention. A letter that Kafka refuses for another reason is never dropped: somebody has to repair the topic first.
//!
//! # Layout
//! - [`form`]: what a letter consists of
//! - [`fit`]: what it leaves out when it is too large
//! - [`topic`]: whether the topic keeps what it is given

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
use super::omit::{Omitted, Sizes, ways};
use super::topic::{CHECK_EVERY, Topic, UnfitTopic};
use crate::batch::budget::letter_bytes;
use crate::failure::{Class, Failure};
use crate::fault::{Failpoint, Fault, is_injected, reached};

/// How long Kafka may take to acknowledge a dead letter before the attempt counts as failed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Dead letters of a batch that wait for their acknowledgement at the same time: the producer's copies stay few.
const AT_ONCE: usize = 256;
/// Largest dead letter the client passes on; the broker's own limit may be lower.
const LARGEST: usize = 16 * 1024 * 1024;
/// What Kafka adds around a record that is alone in its batch, at most.
const ENVELOPE: usize = 128;

/// Sends dead letters.
#[derive(Clone)]
pub struct DeadLetters(Arc<Inner>);

struct Inner {
    kafka: ClientConfig,
    /// Another one is made when it breaks for good.
    producer: std::sync::RwLock<FutureProducer>,
    rebootstrap: Rebootstrap,
    topic: Topic,
    /// KiB of the producer's copies. It counts payloads alone itself, and headers take more than their bytes.
    memory: Semaphore,
    most_kib: u32,
    /// Held by all letters on their way; by one alone that was too large for its batch, perhaps, and not for its topic.
    alone: RwLock<()>,
    /// Most bytes of a dead letter that surely fit into the producer's letter_bytes; it says of larger ones only that it is full.
    largest: usize,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// Opens no connection yet. `queue_kib` bounds the producer's own letter_bytes.
    pub fn new(mut kafka: ClientConfig, topic: &str, queue_kib: u64) -> KafkaResult<Self> {
        let (rebootstrap, topic) = (Rebootstrap::new(&kafka), Topic::new(&kafka, topic)?);
        let most_kib = u32::try_from(queue_kib.max(1024)).unwrap_or(u32::MAX / 1024);
        let largest = (most_kib as usize * 1024 / 4 * 3).min(LARGEST);
        kafka
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", LARGEST.to_string())
            .set("message.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            .set("queue.buffering.max.kbytes", most_kib.to_string());
        let producer = std::sync::RwLock::new(kafka.create()?);
        let memory = Semaphore::new(most_kib as usize);
        let alone = RwLock::default();
        Ok(Self(Arc::new(Inner { kafka, producer, rebootstrap, topic, memory, most_kib, alone, largest })))
    }

    /// The topic they go to.
    pub fn topic(&self) -> &Topic {
        &self.0.topic
    }

    /// Sends all of them; returns when every one is acknowledged by a topic that keeps them.
    pub async fn send<L: Borrow<DeadLetter>>(&self, letters: &[L]) -> Result<(), Failure> {
        let room = self.0.topic.check(CHECK_EVERY).await.map_err(|unfit| of_topic(&unfit))?;
        let mut on_their_way = FuturesUnordered::new();
        for letter in letters {
            on_their_way.push(self.0.send(letter.borrow(), room.most_bytes));
            if on_their_way.len() >= AT_ONCE {
                on_their_way.try_next().await?;
            }
        }
        on_their_way.try_collect().await
    }
}

impl Inner {
    async fn send(&self, letter: &DeadLetter, most_bytes: Option<usize>) -> Result<(), Failure> {
        let sent = match self.try_send(letter, most_bytes).await {
            Err(error) if is_refusal(&error) => {
                // Its topic may have been changed a moment ago.
                self.topic.check(Duration::ZERO).await.map_err(|unfit| of_topic(&unfit))?;
                Err(error)
            }
            other => other,
        };
        reached(Failpoint::Letter);
        sent.map_err(|error| failure(self.topic.name(), &error))
    }

    /// Sends a letter whole, or without as little as has to be left out.
    async fn try_send(&self, letter: &DeadLetter, most_bytes: Option<usize>) -> KafkaResult<()> {
        let copied = u32::try_from(letter_bytes(letter) / 1024 + 1).unwrap_or(u32::MAX);
        let _copy = self.memory.acquire_many(copied.min(self.most_kib)).await.expect("nobody closes this semaphore");
        let sizes = sizes(letter);
        let is_small = sizes.payload + sizes.headers + sizes.key <= self.largest;
        let mut sent = Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge));
        if is_small {
            let shared = self.alone.read().await;
            sent = self.deliver(letter, Omitted::default()).await;
            drop(shared);
        }
        if !is_too_large(&sent) {
            return sent;
        }
        let _alone = self.alone.write().await;
        if is_small {
            // A batch of many letters may have been too large, and not this one.
            sent = self.deliver(letter, Omitted::default()).await;
        }
        for without in ways(sizes, room(letter, most_bytes, self.largest)) {
            if !is_too_large(&sent) || (without.key && is_injected(Fault::NeverLeaveKeyOut)) {
                break;
            }
            tell(letter, without);
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
        break_for_test(&producer);
        let sent = producer.send(record, DELIVERY_TIMEOUT).await.map_err(|(error, _)| error);
        if sent.as_ref().is_err_and(is_unanswered) {
            self.rebootstrap.add_servers(producer.client());
        }
        if sent.is_err() {
            self.renew_if_broken(&producer);
        }
        sent.map(drop)
    }

    /// An idempotent producer that has lost track of its sequence numbers breaks for good, and every send fails at once.
    /// Whatever it had on its way is sent again by another one: a letter may then be there twice, and counts once.
    fn renew_if_broken(&self, broken: &FutureProducer) {
        let Some((code, why)) = broken.client().fatal_error() else { return };
        if is_injected(Fault::KeepBrokenProducer) {
            return;
        }
        let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        if producer.client().native_ptr() != broken.client().native_ptr() {
            return;
        }
        match self.kafka.create() {
            Ok(another) => {
                tracing::warn!(%code, why, "the producer of dead letters broke for good; another one takes its place");
                *producer = another;
            }
            Err(error) => {
                error!(%error, %code, why, "the producer of dead letters broke, and no other one can be made");
            }
        }
    }
}

/// Bytes that the topic has for a letter's own parts.
fn room(letter: &DeadLetter, most_bytes: Option<usize>, largest: usize) -> usize {
    let about = Omitted { payload: true, headers: true, key: true };
    let said: usize = {
        use rdkafka::message::Headers;
        let headers = compose::headers_without(letter, about);
        headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len) + 4).sum()
    };
    most_bytes.map_or(largest, |most| most.min(largest)).saturating_sub(said + ENVELOPE)
}

fn sizes(letter: &DeadLetter) -> Sizes {
    let length = |bytes: Option<&Vec<u8>>| bytes.map_or(0, Vec::len);
    // A header has two lengths of up to three bytes each.
    let headers = compose::header_bytes(letter) + letter.headers.len() * 6;
    Sizes { payload: length(letter.payload.as_ref()), headers, key: length(letter.key.as_ref()) }
}

fn tell(letter: &DeadLetter, without: Omitted) {
    let Sizes { payload, headers, key } = sizes(letter);
    error!(
        topic = letter.topic,
        partition = letter.partition,
        offset = letter.offset,
        payload = without.payload.then_some(payload),
        headers = without.headers.then_some(headers),
        key = without.key.then_some(key),
        "dead letter is too large for its topic or its producer; these parts (in bytes) stay where they came from, for that \
         topic's retention; raise max.message.bytes of the dead-letter topic",
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

/// Whether Kafka has to be waited for, or an operator.
pub fn class(error: &KafkaError) -> Class {
    match error.rdkafka_error_code() {
        Some(code) if remedy(code).is_some() => Class::Operator,
        _ => Class::Transient,
    }
}

/// What an operator does about a refusal that no waiting repairs.
fn remedy(code: RDKafkaErrorCode) -> Option<&'static str> {
    use RDKafkaErrorCode as Code;
    Some(match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
            "make the topic (`sluice schemas apply`), or correct ingest.dead_letter_topic"
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "grant the worker's user Describe, DescribeConfigs, Read and Write on the topic"
        }
        Code::SaslAuthenticationFailed => "correct the login in ingest.kafka",
        Code::PolicyViolation => "a policy of the brokers forbids it: have it allowed for this topic",
        Code::InvalidRecord => {
            "the brokers find the record invalid: the topic must not be compacted (cleanup.policy=delete)"
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            "even without payload, headers and key it is too large: raise max.message.bytes of the topic"
        }
        Code::InvalidTimestamp => {
            "the brokers refuse its time: correct the clocks, or message.timestamp.after.max.ms of the topic"
        }
        Code::UnsupportedForMessageFormat => {
            "headers need message.format.version 0.11 or later: raise that of the topic"
        }
        _ => return None,
    })
}

fn of_topic(unfit: &UnfitTopic) -> Failure {
    Failure::new(Class::Operator, unfit.to_string())
}

fn failure(topic: &str, error: &KafkaError) -> Failure {
    let (class, code) = (class(error), error.rdkafka_error_code());
    let what = match code.map(|code| (code, remedy(code))) {
        None => "Kafka did not acknowledge a dead letter (no answer)".to_owned(),
        Some((code, None)) => format!("Kafka did not acknowledge a dead letter ({code})"),
        Some((code, Some(remedy))) => format!("topic {topic} refuses a dead letter ({code}); {remedy}"),
    };
    Failure::new(class, what)
}

/// Breaks the first producer, where a test asks for it.
#[cfg(debug_assertions)]
#[expect(unsafe_code, reason = "librdkafka's own call for such tests has no safe form")]
fn break_for_test(producer: &FutureProducer) {
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
const fn break_for_test(_: &FutureProducer) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_waiting_repairs_is_the_operators() {
        use RDKafkaErrorCode as Code;
        let of = |code| class(&KafkaError::MessageProduction(code));
        for code in
            [Code::InvalidRecord, Code::MessageSizeTooLarge, Code::PolicyViolation, Code::TopicAuthorizationFailed]
        {
            assert_eq!(of(code), Class::Operator, "{code}");
        }
        for code in [
            Code::MessageTimedOut,
            Code::NotEnoughReplicas,
            Code::Fatal,
            Code::QueueFull,
            Code::OutOfOrderSequenceNumber,
        ] {
            assert_eq!(of(code), Class::Transient, "{code}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidRecord);
        let said = failure("ns.errors", &error).to_string();
        assert!(
            said.contains("topic ns.errors refuses a dead letter") && said.contains("cleanup.policy=delete"),
            "{said}"
        );
    }
}
