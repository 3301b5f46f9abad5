//! `agent_state`: an agent's state, in the Redis state cluster: replaced with its time to live, then read, in one
//! transaction. The replaced state must be one that this agent can have, the read one that which was written. The
//! question never writes a state without a time to live.

use sluice_schemas::keyspace::AGENT_TTL;
use sluice_schemas::records::AgentState as Record;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{AGENT_STEPS, Population, Tenant, rng::KeyedRng};
use crate::target::redis::{STORE, transaction};
use crate::target::{QueryError, Targets};

/// Replaces and reads a state. `$key` is `agent:{agent_id}:state` under the namespace, `$ttl` that of the key space, in
/// seconds.
const UPDATE: &str = "\
MULTI
SET $key $state EX $ttl GET
GET $key
TTL $key
EXEC";

#[derive(Debug)]
pub(super) struct AgentState;

impl Definition for AgentState {
    fn name(&self) -> &'static str {
        "agent_state"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn writes(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[UPDATE]
    }

    fn draw_key(&self, _population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::AgentStep { agent: rng.below(tenant.agents), step: rng.below(AGENT_STEPS) }
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let (agent, step) = subject.agent_step();
            let state = subject.population.agent_state(subject.tenant, agent, step);
            let text = serde_json::to_string(&state).map_err(|_| unreadable())?;
            let key = targets.state.key(&format!("agent:{}:state", state.agent_id));
            let ttl = AGENT_TTL.as_secs().to_string();
            let update = transaction(UPDATE, &[("$key", &key), ("$state", &text), ("$ttl", &ttl)]);
            let (previous, current, ttl): (Option<String>, Option<String>, i64) =
                update.query_async(&mut targets.state.connection()).await?;
            let previous = previous.map(|text| read(&text)).transpose()?.into_iter().collect();
            let current = current.map(|text| read(&text)).transpose()?;
            Ok(Answer::AgentState { previous, current, ttl: ttl..=ttl })
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

fn read(text: &str) -> Result<Record, QueryError> {
    serde_json::from_str(text).map_err(|_| unreadable())
}

fn unreadable() -> QueryError {
    QueryError::Unreadable { store: STORE, what: "a state that is not JSON" }
}

/// The population has the states of each agent; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    fn expected(&self, subject: Subject<'_>) -> Answer {
        let (agent, step) = subject.agent_step();
        let state = |step| subject.population.agent_state(subject.tenant, agent, step);
        let ttl = AGENT_TTL.as_secs().cast_signed();
        Answer::AgentState {
            previous: (0..AGENT_STEPS).map(state).collect(),
            current: Some(state(step)),
            ttl: ttl - 1..=ttl,
        }
    }
}
