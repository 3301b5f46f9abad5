//! The record types of the platform and their exact wire formats, once.
//! The generator sends them and the tests read them; ingest takes its columns from the pipeline's mapping and the table.
//! No store is touched here.
//!
//! On Kafka each record is one JSON object, UTF-8, without a schema wrapper; timestamps are RFC 3339 in UTC with
//! milliseconds (`2026-11-24T08:33:26.123Z`); identifiers are hyphenated lowercase UUIDs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Largest JSON record the platform's producers send, in bytes.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;
/// Largest message text of a communication, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Largest email address, in bytes (the ADR's `VARCHAR(255)`).
pub const MAX_EMAIL_BYTES: usize = 255;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire and in the stores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How a communication reaches its customer.
    Channel {
        /// Electronic mail.
        Email = "email",
        /// A call.
        Phone = "phone",
        /// A text message.
        Sms = "sms",
    }
}

words! {
    /// Who began a communication.
    Direction {
        /// From the customer.
        Inbound = "inbound",
        /// To the customer.
        Outbound = "outbound",
    }
}

words! {
    /// What happened to a communication. A communication's `status` is the type of its newest event.
    EventType {
        /// Planned and waiting.
        Queued = "queued",
        /// Handed to the provider.
        Sent = "sent",
        /// Accepted at the other end.
        Delivered = "delivered",
        /// Opened or picked up.
        Opened = "opened",
        /// The customer replied.
        Answered = "answered",
        /// The customer promised to pay.
        Promised = "promised",
        /// The customer paid.
        Paid = "paid",
        /// It did not arrive.
        Failed = "failed",
    }
}

words! {
    /// What a customer did.
    InteractionType {
        /// Replied to a message.
        Reply = "reply",
        /// Called, or took a call.
        Call = "call",
        /// Followed a link.
        Click = "click",
        /// Opened the payment portal.
        PortalVisit = "portal_visit",
        /// Promised to pay.
        Promise = "promise",
        /// Paid.
        Payment = "payment",
        /// Disputed the claim.
        Dispute = "dispute",
    }
}

/// One event in the life of a communication: topic `communication-events`, keyed `tenant_id:customer_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommunicationEvent {
    /// Identity of the event.
    pub event_id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The customer it concerns.
    pub customer_id: Uuid,
    /// The campaign, or the nil UUID where there is none.
    pub campaign_id: Uuid,
    /// The agent that acted.
    pub agent_id: String,
    /// The channel of the communication.
    pub channel: Channel,
    /// What happened.
    pub event_type: EventType,
    /// When it happened.
    #[serde(with = "millis")]
    pub timestamp: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// Whether it went as meant.
    pub success: bool,
    /// The provider's error, or empty.
    pub error_code: String,
    /// Details; kept in ClickHouse as the JSON text it came in.
    pub metadata: EventMetadata,
}

/// The generator's details of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// The communication the event belongs to.
    pub communication_id: Uuid,
    /// Place in the tenant's own sequence of events, from 0 without gaps.
    pub seq: u64,
    /// Template of the message.
    pub template: String,
    /// Language of the message, ISO 639-1.
    pub language: String,
}

/// One measurement of an agent: topic `agent-metrics`, keyed by the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentMetric {
    /// The tenant the agent works for.
    pub tenant_id: Uuid,
    /// The agent.
    pub agent_id: String,
    /// Its kind, such as `negotiator`.
    pub agent_type: String,
    /// What was measured.
    pub metric_name: String,
    /// The measurement, in the metric's own unit.
    pub metric_value: f64,
    /// When it was measured.
    #[serde(with = "millis")]
    pub timestamp: DateTime<Utc>,
}

/// One thing a customer did: topic `customer-interactions`, keyed `tenant_id:customer_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomerInteraction {
    /// Identity of the interaction.
    pub interaction_id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The customer who acted.
    pub customer_id: Uuid,
    /// The campaign, or the nil UUID where there is none.
    pub campaign_id: Uuid,
    /// The communication it answers.
    pub communication_id: Uuid,
    /// The channel it came by.
    pub channel: Channel,
    /// What the customer did.
    pub interaction_type: InteractionType,
    /// When.
    #[serde(with = "millis")]
    pub timestamp: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// `positive`, `neutral` or `negative`.
    pub sentiment: String,
    /// Money promised or paid, in the currency's smallest unit; 0 where none was.
    pub amount_minor: i64,
    /// ISO 4217 currency.
    pub currency: String,
}

/// A message to or from a customer: table `communications` in PostgreSQL, index `communications-YYYY.MM`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Communication {
    /// Identity; with `created_at` the primary key.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The customer.
    pub customer_id: Uuid,
    /// The campaign, where there is one.
    pub campaign_id: Option<Uuid>,
    /// The channel.
    pub channel: Channel,
    /// Who began it.
    pub direction: Direction,
    /// The message.
    pub content: Content,
    /// Details.
    pub metadata: serde_json::Value,
    /// Type of its newest event.
    pub status: EventType,
    /// When it was created; never changes, so it chooses the month.
    #[serde(with = "millis")]
    pub created_at: DateTime<Utc>,
}

/// The text of a communication (JSONB `content`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Subject line, empty for phone and SMS.
    pub subject: String,
    /// Text of the message or transcript of the call.
    pub body: String,
    /// Language, ISO 639-1.
    pub language: String,
    /// Template it was made from.
    pub template: String,
}

/// A customer: table `customers` in PostgreSQL, key `ctx:{customer_id}` in the Redis cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Customer {
    /// Identity.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// Address, unique within the tenant without regard to case.
    pub email: String,
    /// Phone number, E.164.
    pub phone: Option<String>,
    /// Company, for business customers.
    pub company_name: Option<String>,
    /// Attributes of the tenant's own choosing.
    pub profile_data: serde_json::Value,
    /// Summary of payments.
    pub payment_history: serde_json::Value,
    /// Wishes about contact.
    pub preferences: serde_json::Value,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(with = "millis")]
    pub updated_at: DateTime<Utc>,
    /// Whether it still is a customer.
    pub is_active: bool,
}

/// A campaign: table `campaigns` in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Identity.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// Name for people.
    pub name: String,
    /// What it does.
    pub configuration: serde_json::Value,
    /// When it turns to the next channel.
    pub escalation_rules: serde_json::Value,
    /// `DRAFT`, `ACTIVE`, `PAUSED` or `DONE`.
    pub status: String,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(with = "millis")]
    pub updated_at: DateTime<Utc>,
}

/// A record that could not land: topic `clickhouse-errors`. Key, payload and the original headers are kept byte for
/// byte; what is said about it travels in the headers named in [`dead_letter_header`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record's own key.
    pub key: Option<Vec<u8>>,
    /// The record's own payload; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The record's own headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Those of them that are left out, since they are too many or too large.
    pub headers_left_out: Option<HeadersLeftOut>,
    /// Why it could not land, as a code without data: `truncated_json`, `missing_field` and so on.
    pub reason: String,
    /// The stage that rejected it: `decode` or `write`.
    pub stage: String,
    /// Whose fault it is: `row`.
    pub error_class: String,
    /// Topic it came from.
    pub topic: String,
    /// Identity of that topic, which tells it from one that is made anew under its name.
    pub topic_id: Uuid,
    /// Partition it came from.
    pub partition: i32,
    /// Offset it had; with topic and partition its identity.
    pub offset: i64,
    /// The record's timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// How often it was tried.
    pub attempts: u32,
    /// The tenant, where it could be read.
    pub tenant_id: Option<Uuid>,
}

/// Headers of a record that its dead letter does not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadersLeftOut {
    /// So many, with so many bytes in their names and values.
    Counted {
        /// How many.
        count: usize,
        /// Bytes of their names and values.
        bytes: usize,
    },
    /// All: Kafka's client reads none of a record that has more than 100,000.
    Unreadable,
}

/// Names of the headers that a dead letter carries beside its own.
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
    /// [`super::DeadLetter::topic_id`], hyphenated; letters written before it was kept lack it.
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
    /// How many of the record's own headers were left out, decimal, or `all`; only where some were.
    pub const HEADERS_LEFT_OUT: &str = "sluice.headers_left_out";
    /// Bytes of their names and values, decimal; only where that is known.
    pub const HEADER_BYTES_LEFT_OUT: &str = "sluice.header_bytes_left_out";
}

/// RFC 3339 in UTC with exactly three decimals.
mod millis {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        DateTime::<Utc>::deserialize(deserializer)
    }
}
