//! The rows of PostgreSQL's tables, which other stores hold copies of. This module runs no statement.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::millis;
use super::value::{Channel, Direction, EventType};

/// A message to or from a customer: table `communications` in PostgreSQL, index `communications-YYYY.MM`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Communication {
    /// Identity; with `created_at` the primary key.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The customer.
    pub customer_id: Uuid,
    /// The campaign, if there is one.
    pub campaign_id: Option<Uuid>,
    /// The channel.
    pub channel: Channel,
    /// Who initiated it.
    pub direction: Direction,
    /// The message.
    pub content: Content,
    /// Details.
    pub metadata: serde_json::Value,
    /// Type of its newest event.
    pub status: EventType,
    /// When it was created. It never changes, so it determines the month.
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
    /// Template of the message.
    pub template: String,
}

/// A customer: table `customers` in PostgreSQL, key `ctx:{customer_id}` in the Redis cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// Identity.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// Email address, unique within the tenant, ignoring case.
    pub email: String,
    /// Phone number, E.164.
    pub phone: Option<String>,
    /// Company, for business customers.
    pub company_name: Option<String>,
    /// Attributes defined by the tenant.
    pub profile_data: serde_json::Value,
    /// Summary of payments.
    pub payment_history: serde_json::Value,
    /// Contact preferences.
    pub preferences: serde_json::Value,
    /// When it was created.
    #[serde(with = "millis")]
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    #[serde(with = "millis")]
    pub updated_at: DateTime<Utc>,
    /// Whether the customer is active.
    pub is_active: bool,
}

/// A campaign: table `campaigns` in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Identity.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// Display name.
    pub name: String,
    /// Configuration.
    pub configuration: serde_json::Value,
    /// When to escalate to the next channel.
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
