//! What the Redis state cluster holds about agents: sessions, states and messages. It never reads or writes Redis.

use chrono::TimeDelta;
use sluice_schemas::records::{AgentMessage, AgentState, Session};

use super::Population;

/// Number of states that an agent can have, and of messages to it.
pub(crate) const AGENT_STEPS: u64 = 16;

/// What a user may do.
const ROLES: [(&str, u64); 3] = [("agent", 80), ("supervisor", 15), ("administrator", 5)];
/// Users have signed in at most this long before the drive, in milliseconds: half of a session's time to live.
const SIGNED_IN_WITHIN: u64 = 12 * 3_600_000;

const STATUSES: [&str; 4] = ["idle", "dialing", "talking", "writing"];
const TASKS: [(&str, u64); 3] = [("call", 50), ("write", 45), ("stop", 5)];

impl Population {
    /// State `step` of agent `index` of a tenant, `0..AGENT_STEPS`.
    pub(crate) fn agent_state(&self, tenant: usize, index: u64, step: u64) -> AgentState {
        let owner = &self.tenants()[tenant];
        let mut rng = self.rng("agent states", tenant, index * AGENT_STEPS + step);
        let status = rng.pick(&STATUSES);
        AgentState {
            tenant_id: owner.id,
            agent_id: self.agent(tenant, index).id,
            status: status.to_owned(),
            customer_id: (status != "idle").then(|| self.customer_id(tenant, rng.below(owner.customers))),
            step,
        }
    }

    /// Message `number` to agent `index` of a tenant, `0..AGENT_STEPS`.
    pub(crate) fn agent_message(&self, tenant: usize, index: u64, number: u64) -> AgentMessage {
        let owner = &self.tenants()[tenant];
        let mut rng = self.rng("agent messages", tenant, index * AGENT_STEPS + number);
        AgentMessage {
            id: rng.uuid(),
            tenant_id: owner.id,
            agent_id: self.agent(tenant, index).id,
            task: rng.weighted(&TASKS).to_owned(),
            customer_id: self.customer_id(tenant, rng.below(owner.customers)),
        }
    }

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
