//! Loads a session for each agent, with its time to live, into the state cluster. It loads no states and no messages.

use super::{Cluster, Job, LoadError, Values, fill};
use crate::population::Population;
use crate::question::session::set_session;

pub(in crate::load) const SESSIONS: &str = "Redis sessions";

pub(super) async fn load(job: Job<'_>, state: &Cluster) -> Result<(), LoadError> {
    let values = Values { kind: SESSIONS, indices: |_, tenant| 0..tenant.agents, value: Population::session };
    fill(job, values, |session| async move { set_session(state, &session).await }).await
}
