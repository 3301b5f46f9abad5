//! The values of the Redis state cluster. This module sets no time to live.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::millis;

/// A signed-in user: key `session:{user_id}` in the Redis state cluster, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The user.
    pub user_id: String,
    /// Token that the user's browser sends.
    pub token: Uuid,
    /// What the user may do.
    pub role: String,
    /// When the user signed in.
    #[serde(with = "millis")]
    pub signed_in_at: DateTime<Utc>,
}

/// What an agent does: key `agent:{agent_id}:state` in the Redis state cluster, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentState {
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The agent.
    pub agent_id: String,
    /// `idle`, `dialing`, `talking` or `writing`.
    pub status: String,
    /// The customer that the agent is busy with.
    pub customer_id: Option<Uuid>,
    /// Number of the step in the agent's work.
    pub step: u64,
}

/// A message to an agent: an item of the list `agent:{agent_id}:queue` in the Redis state cluster, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentMessage {
    /// Identity.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant_id: Uuid,
    /// The agent that receives it.
    pub agent_id: String,
    /// What to do: `call`, `write` or `stop`.
    pub task: String,
    /// The customer that it is about.
    pub customer_id: Uuid,
}
