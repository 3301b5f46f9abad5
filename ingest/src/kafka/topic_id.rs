//! Reads the ID of a topic, which is unique even if its name is reused: a topic that is deleted and recreated starts at
//! offset 0 under the same name, so tokens and provenance contain the ID. The safe crate does not expose it, so this
//! module uses `rdkafka-sys`. It never stops a partition of a recreated topic; its callers do.
#![expect(unsafe_code, reason = "rdkafka has no safe call for DescribeTopics; every pointer here is checked and freed")]

use std::ffi::{CStr, CString};
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaResult;
use sluice_schemas::rebootstrap::Rebootstrap;
use tracing::warn;
use uuid::Uuid;

use crate::fault::{Fault, is_injected};

/// How long to wait for a topic's ID.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

const NO_ERROR: sys::rd_kafka_resp_err_t = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// Why a partition stops after its topic was deleted and recreated.
pub(crate) const RECREATED: &str = "the topic was deleted and recreated since this worker started; restart it";

/// A topic that could not be described.
#[derive(Debug, thiserror::Error)]
#[error("describe topic {topic}: {cause}")]
pub struct DescribeError {
    /// Name of the topic.
    pub topic: String,
    /// Kafka's error.
    pub cause: String,
    /// Whether no topic has this name.
    pub is_missing: bool,
}

/// What became of a topic since a worker started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicState {
    /// Its ID is the same, or Kafka does not respond; the check is repeated later.
    Same,
    /// It was deleted and recreated.
    Recreated,
    /// There is none of its name: it was deleted and may be recreated at any time.
    Missing,
}

/// Checks whether topics have been recreated.
///
/// It has its own client: a broker responds to the requests of one connection in order, so this request would wait
/// behind a consumer's fetch that waits for records.
pub struct TopicIds {
    client: BaseConsumer<DefaultConsumerContext>,
    rebootstrap: Rebootstrap,
}

impl fmt::Debug for TopicIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicIds").finish_non_exhaustive()
    }
}

impl TopicIds {
    /// Creates a `TopicIds` without connecting.
    pub fn new(kafka: &ClientConfig) -> KafkaResult<Self> {
        Ok(Self { client: kafka.create()?, rebootstrap: Rebootstrap::new(kafka) })
    }

    /// Whether a topic still has the ID `known`.
    pub fn state(&self, topic: &str, known: Option<Uuid>) -> TopicState {
        match topic_id(self.client.client(), topic, RESPONSE_TIMEOUT) {
            _ if is_injected(Fault::IgnoreTopicIds) => TopicState::Same,
            Ok(id) if Some(id) == known => TopicState::Same,
            Ok(_) => TopicState::Recreated,
            Err(error) => {
                warn!(%error, topic, "cannot read the topic's ID");
                self.rebootstrap.add_servers(self.client.client());
                if error.is_missing { TopicState::Missing } else { TopicState::Same }
            }
        }
    }
}

/// Requests the ID of `topic` from the cluster.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<Uuid, DescribeError> {
    let failed = |(cause, is_missing)| DescribeError { topic: topic.to_owned(), cause, is_missing };
    let name = CString::new(topic).map_err(|_| failed(("its name has a zero byte".to_owned(), false)))?;
    let event = describe(client, &name, timeout).ok_or_else(|| failed(("no response in time".to_owned(), false)))?;
    event.id().map_err(failed)
}

/// An event of librdkafka, freed on drop.
struct Event(*mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `rd_kafka_queue_poll`, is not null and is destroyed once, here.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

/// Sends the request and waits for its event. `None` on timeout.
fn describe<C: ClientContext>(client: &Client<C>, name: &CStr, timeout: Duration) -> Option<Event> {
    let mut names = [name.as_ptr()];
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives for the whole call; `names` holds one valid string, which librdkafka copies; queue,
    // collection and options are created here and destroyed once, after the request, which does not keep the last two.
    // librdkafka drops a response that arrives after the queue is destroyed.
    unsafe {
        let handle = client.native_ptr();
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let queue = sys::rd_kafka_queue_new(handle);
        let options =
            sys::rd_kafka_AdminOptions_new(handle, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, std::ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(handle, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, millis);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_TopicCollection_destroy(topics);
        (!event.is_null()).then_some(Event(event))
    }
}

impl Event {
    /// The topic's ID, or the cause and whether it is that there is no such topic.
    fn id(&self) -> Result<Uuid, (String, bool)> {
        // SAFETY: the event lives as long as `self`; everything read from it (result, descriptions, error texts, the
        // ID) belongs to it and is copied before this function returns. Null is checked wherever librdkafka may return
        // it.
        unsafe {
            if sys::rd_kafka_event_error(self.0) != NO_ERROR {
                return Err((text(sys::rd_kafka_event_error_string(self.0)), false));
            }
            let result = sys::rd_kafka_event_DescribeTopics_result(self.0);
            if result.is_null() {
                return Err(("the response is of another type".to_owned(), false));
            }
            let mut count = 0;
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            if topics.is_null() || count == 0 {
                return Err(("the response is empty".to_owned(), false));
            }
            let error = sys::rd_kafka_TopicDescription_error(*topics);
            let code = if error.is_null() { NO_ERROR } else { sys::rd_kafka_error_code(error) };
            if code != NO_ERROR {
                let is_missing = code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
                return Err((text(sys::rd_kafka_error_string(error)), is_missing));
            }
            let id = sys::rd_kafka_TopicDescription_topic_id(*topics);
            if id.is_null() {
                return Err(("the broker is too old to have topic IDs".to_owned(), false));
            }
            let high = sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
            let low = sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
            Ok(Uuid::from_u64_pair(high, low))
        }
    }
}

/// Copies a C string.
///
/// # Safety
/// `pointer` is null or points to a string that ends with a zero byte.
unsafe fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: guaranteed by the caller.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
