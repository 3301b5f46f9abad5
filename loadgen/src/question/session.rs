//! `session`: a user's session, in the Redis state cluster. Reading it starts its time to live anew. The question never
//! signs a user in; the load does.

use std::time::Duration;

use sluice_schemas::keyspace::SESSION_TTL;
use sluice_schemas::records::Session as Record;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::Subject;
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::redis::{Cluster, STORE, command};
use crate::target::{QueryError, Targets};

/// Reads a session. `$key` is `session:{user_id}` under the namespace, `$ttl` that of the key space, in seconds.
const GET: &str = "GETEX $key EX $ttl";

/// Reads a session, and changes nothing.
const PEEK: &str = "GET $key";

/// Signs a user in.
const SET: &str = "SET $key $session EX $ttl";

#[derive(Debug)]
pub(super) struct Session;

impl Definition for Session {
    fn name(&self) -> &'static str {
        "session"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn writes(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[GET, SET]
    }

    fn draw_key(&self, _population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::Agent(rng.below(tenant.agents))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move { Ok(Answer::Session(get_session(&targets.state, &subject.agent_id()).await?)) })
    }

    fn cached_for(&self) -> Option<Duration> {
        Some(*SESSION_TTL)
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// Reads a session from the state cluster, and starts its time to live anew.
pub async fn get_session(state: &Cluster, user: &str) -> Result<Option<Record>, QueryError> {
    read(state, &command(GET, &[("$key", &session_key(state, user)), ("$ttl", &ttl())])).await
}

/// Reads a session from the state cluster, and changes nothing.
pub async fn peek_session(state: &Cluster, user: &str) -> Result<Option<Record>, QueryError> {
    read(state, &command(PEEK, &[("$key", &session_key(state, user))])).await
}

async fn read(state: &Cluster, get: &redis::Cmd) -> Result<Option<Record>, QueryError> {
    let text: Option<String> = get.query_async(&mut state.connection()).await?;
    text.map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|_| QueryError::Unreadable { store: STORE, what: "a session that is not JSON" })
}

/// Writes a session into the state cluster.
pub async fn set_session(state: &Cluster, session: &Record) -> Result<(), QueryError> {
    let text = serde_json::to_string(session)
        .map_err(|_| QueryError::Unreadable { store: STORE, what: "a session that is not JSON" })?;
    let key = session_key(state, &session.user_id);
    let set = command(SET, &[("$key", &key), ("$session", &text), ("$ttl", &ttl())]);
    set.query_async::<()>(&mut state.connection()).await?;
    Ok(())
}

fn session_key(state: &Cluster, user: &str) -> String {
    state.key(&format!("session:{user}"))
}

fn ttl() -> String {
    SESSION_TTL.as_secs().to_string()
}

/// The population has a session for each agent; nothing needs to be counted.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    fn expected(&self, subject: Subject<'_>) -> Answer {
        Answer::Session(Some(subject.population.session(subject.tenant, subject.agent_index())))
    }
}
