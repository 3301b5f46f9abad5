//! The records of the Kafka topics. They contain no schema and no version.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::millis;
use super::value::{Channel, EventType, InteractionType};

/// One event in the life of a communication: topic `communication-events`, keyed `tenant_id:customer_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommunicationEvent {
    /// Identity of the event.
    pub event_id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The customer it concerns.
    pub customer_id: Uuid,
    /// The campaign, or the nil UUID if there is none.
    pub campaign_id: Uuid,
    /// The agent that sent or handled it.
    pub agent_id: String,
    /// The channel of the communication.
    pub channel: Channel,
    /// What happened.
    pub event_type: EventType,
    /// When it happened.
    #[serde(with = "millis")]
    pub timestamp: DateTime<Utc>,
    /// Duration in milliseconds.
    pub duration_ms: u32,
    /// Whether it succeeded.
    pub success: bool,
    /// The provider's error, or empty.
    pub error_code: String,
    /// Details; stored in ClickHouse as the JSON text that was received.
    pub metadata: EventMetadata,
}

/// The details of an event that the generator produces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMetadata {
    /// The communication that the event belongs to.
    pub communication_id: Uuid,
    /// Position in the tenant's sequence of events, from 0 without gaps.
    pub seq: u64,
    /// Template of the message.
    pub template: String,
    /// Language of the message, ISO 639-1.
    pub language: String,
}

/// One measurement of an agent: topic `agent-metrics`, keyed by the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentMetric {
    /// The tenant that the agent works for.
    pub tenant_id: Uuid,
    /// The agent.
    pub agent_id: String,
    /// The kind of agent, such as `negotiator`.
    pub agent_type: String,
    /// The name of the metric.
    pub metric_name: String,
    /// The value, in the metric's unit.
    pub metric_value: f64,
    /// When it was measured.
    #[serde(with = "millis")]
    pub timestamp: DateTime<Utc>,
}

/// One action of a customer: topic `customer-interactions`, keyed `tenant_id:customer_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomerInteraction {
    /// Identity of the interaction.
    pub interaction_id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The customer who acted.
    pub customer_id: Uuid,
    /// The campaign, or the nil UUID if there is none.
    pub campaign_id: Uuid,
    /// The communication that it responds to.
    pub communication_id: Uuid,
    /// The channel of the interaction.
    pub channel: Channel,
    /// What the customer did.
    pub interaction_type: InteractionType,
    /// When it happened.
    #[serde(with = "millis")]
    pub timestamp: DateTime<Utc>,
    /// Duration in milliseconds.
    pub duration_ms: u32,
    /// `positive`, `neutral` or `negative`.
    pub sentiment: String,
    /// Amount promised or paid, in the currency's smallest unit; 0 if none.
    pub amount_minor: i64,
    /// ISO 4217 currency.
    pub currency: String,
}
