//! A dead letter, and the headers that describe it. It is never composed or parsed here.

use uuid::Uuid;

/// A record that could not be written: topic `clickhouse-errors`. Key, payload and original headers are preserved byte
/// for byte; the other fields are in the headers listed in [`dead_letter_header`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record's own key.
    pub key: Option<Vec<u8>>,
    /// The record's own payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The record's own headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The headers that are omitted because they are too many or too large.
    pub headers_left_out: Option<HeadersLeftOut>,
    /// Why it could not be written, as a code without data: `truncated_json`, `missing_field` and so on.
    pub reason: String,
    /// The stage that rejected it: `decode` or `write`.
    pub stage: String,
    /// The error class: `row`.
    pub error_class: String,
    /// Topic it came from.
    pub topic: String,
    /// ID of that topic, which distinguishes it from a topic recreated under its name.
    pub topic_id: Uuid,
    /// Partition it came from.
    pub partition: i32,
    /// Offset in that partition; with topic and partition the record's identity.
    pub offset: i64,
    /// The record's timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// Number of attempts to write it.
    pub attempts: u32,
    /// The tenant, if it could be read.
    pub tenant_id: Option<Uuid>,
}

/// The headers of a record that its dead letter omits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersLeftOut {
    /// Some or all of them.
    Counted {
        /// Number of omitted headers.
        count: usize,
        /// Bytes of the omitted headers' names and values.
        bytes: usize,
    },
    /// All of them: Kafka's client cannot read the headers of a record with more than 100,000.
    Unreadable,
}

/// Names of the headers that are added to a dead letter.
pub mod dead_letter_header {
    /// Prefix of all of them.
    pub const PREFIX: &str = "sluice.";
    /// [`super::DeadLetter::reason`].
    pub const REASON: &str = "sluice.reason";
    /// [`super::DeadLetter::stage`].
    pub const STAGE: &str = "sluice.stage";
    /// [`super::DeadLetter::error_class`].
    pub const ERROR_CLASS: &str = "sluice.error_class";
    /// [`super::DeadLetter::topic`].
    pub const TOPIC: &str = "sluice.topic";
    /// [`super::DeadLetter::topic_id`], hyphenated; absent from letters written before it was introduced.
    pub const TOPIC_ID: &str = "sluice.topic_id";
    /// [`super::DeadLetter::partition`], decimal.
    pub const PARTITION: &str = "sluice.partition";
    /// [`super::DeadLetter::offset`], decimal.
    pub const OFFSET: &str = "sluice.offset";
    /// [`super::DeadLetter::timestamp_ms`], decimal.
    pub const TIMESTAMP: &str = "sluice.timestamp";
    /// [`super::DeadLetter::attempts`], decimal.
    pub const ATTEMPTS: &str = "sluice.attempts";
    /// [`super::DeadLetter::tenant_id`].
    pub const TENANT: &str = "sluice.tenant";
    /// Size of the payload, decimal; only on a dead letter whose payload was too large to be copied.
    pub const PAYLOAD_BYTES: &str = "sluice.payload_bytes";
    /// Size of the key, decimal; only on a dead letter whose key was too large to be copied.
    pub const KEY_BYTES: &str = "sluice.key_bytes";
    /// Number of the record's headers that are omitted, decimal, or `all`; absent if none is omitted.
    pub const HEADERS_LEFT_OUT: &str = "sluice.headers_left_out";
    /// Bytes of the omitted headers' names and values, decimal; only if known.
    pub const HEADER_BYTES_LEFT_OUT: &str = "sluice.header_bytes_left_out";
}
