//! The values of the Redis state cluster.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::millis;

/// A signed-in user: key `session:{user_id}` in the Redis state cluster, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
