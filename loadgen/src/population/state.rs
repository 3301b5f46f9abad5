//! What the Redis state cluster holds about agents.

use chrono::TimeDelta;
use sluice_schemas::records::Session;

use super::Population;

/// What a user may do.
const ROLES: [(&str, u64); 3] = [("agent", 80), ("supervisor", 15), ("administrator", 5)];
/// Users have signed in at most this long before the drive, in milliseconds: half of a session's time to live.
const SIGNED_IN_WITHIN: u64 = 12 * 3_600_000;

impl Population {
    /// The session of agent `index` of a tenant, `0..tenant.agents`. The user is the agent.
    pub fn session(&self, tenant: usize, index: u64) -> Session {
        let mut rng = self.rng("sessions", tenant, index);
        let token = rng.uuid();
        let age = TimeDelta::milliseconds(rng.below(SIGNED_IN_WITHIN).cast_signed());
        Session {
            tenant_id: self.tenants()[tenant].id,
            user_id: self.agent(tenant, index).id,
            token,
            role: rng.weighted(&ROLES).to_owned(),
            signed_in_at: self.past().end - age,
        }
    }
}
