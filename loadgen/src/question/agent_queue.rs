//! `agent_queue`: a message to an agent, in a list of the Redis state cluster: sent and received in one transaction. What
//! is received must be messages to this agent, the last one that which was sent, and none may be left. The transaction never
//! blocks on an empty list.

use sluice_schemas::records::AgentMessage;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{AGENT_STEPS, Population, Tenant, rng::KeyedRng};
use crate::target::redis::{STORE, transaction};
use crate::target::{QueryError, Targets};

/// Sends a message and receives all. `$key` is `agent:{agent_id}:queue` under the namespace.
const EXCHANGE: &str = "\
MULTI
RPUSH $key $message
LPOP $key 100
LLEN $key
EXEC";

#[derive(Debug)]
pub(super) struct AgentQueue;

impl Definition for AgentQueue {
    fn name(&self) -> &'static str {
        "agent_queue"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn writes(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[EXCHANGE]
    }

    fn draw_key(&self, _population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::AgentStep { agent: rng.below(tenant.agents), step: rng.below(AGENT_STEPS) }
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let (agent, step) = subject.agent_step();
            let message = subject.population.agent_message(subject.tenant, agent, step);
            let text = serde_json::to_string(&message).map_err(|_| unreadable())?;
            let key = targets.state.key(&format!("agent:{}:queue", message.agent_id));
            let exchange = transaction(EXCHANGE, &[("$key", &key), ("$message", &text)]);
            let (_, received, left): (u64, Vec<String>, u64) =
                exchange.query_async(&mut targets.state.connection()).await?;
            let read = |text: &String| serde_json::from_str(text).map_err(|_| unreadable());
            let received = received.iter().map(read).collect::<Result<_, _>>()?;
            Ok(Answer::Messages { received, left })
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

fn unreadable() -> QueryError {
    QueryError::Unreadable { store: STORE, what: "a message that is not JSON" }
}

/// The population has the messages to each agent; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    /// The message that was sent comes last. A transaction whose outcome was unknown was sent again, so others may be
    /// there as well.
    fn expected(&self, subject: Subject<'_>) -> Answer {
        let (agent, step) = subject.agent_step();
        let message = |step| subject.population.agent_message(subject.tenant, agent, step);
        let received: Vec<AgentMessage> = (0..AGENT_STEPS).chain([step]).map(message).collect();
        Answer::Messages { received, left: 0 }
    }
}
