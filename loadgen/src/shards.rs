//! How the shards of one run agree: over a hash in the Redis of the namespace. The first shard says what is prepared, the
//! others join, all start at the same instant, and the first learns what the others wrote. The plan itself needs no agreement.
//! The first shard counts in it while it lives, which the others watch: a stall of Redis is not its end. A run deletes what an
//! earlier one left. No latency is exchanged: reports are merged after the run.

mod agreed;
mod error;
mod heartbeat;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use redis::AsyncCommands as _;
use redis::cluster_async::ClusterConnection;
use serde::{Deserialize, Serialize};
use sluice_schemas::Store;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::runs;
use sluice_schemas::stores::Stores;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::plan::{Shard, Totals};

pub(crate) use agreed::Agreed;
pub use error::ShardsError;
use heartbeat::{HEARTBEAT, Pulse, beat};

/// Time between two looks at the hash.
const POLL: Duration = Duration::from_millis(200);
/// The same while the first shard loads, or drives.
const SLOW_POLL: Duration = Duration::from_secs(2);
/// Time for which a shard waits until the first one has begun; a load may take longer.
const BEGUN_WITHIN: Duration = Duration::from_hours(1);
/// Time for which the first shard waits until the others are ready.
const READY_WITHIN: Duration = Duration::from_mins(10);
/// Time for which the first shard waits for the end of the others' drives after its own.
const DONE_WITHIN: Duration = Duration::from_mins(5);
/// Time from the agreement on the start until the start.
const START_AFTER: Duration = Duration::from_secs(2);
/// Most by which the clock of a shard's machine may differ from that of Redis, so that those of two shards differ by at most
/// twice as much: what the bounds of live answers allow for.
const MAX_SKEW: Duration = Duration::from_millis(500);
/// Time for which a message is tried again while Redis does not answer.
const SAID_WITHIN: Duration = Duration::from_mins(5);

/// The fields of the hash.
const BEGUN: &str = "begun";
const PREPARED: &str = "prepared";
const START: &str = "start";

/// What the first shard prepares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Begun {
    /// The run, which no other one has in common.
    run: Uuid,
    agreed: Agreed,
}

/// A shard that has joined its run.
pub struct Meeting {
    connection: ClusterConnection,
    key: String,
    shard: Shard,
    begun: Begun,
    /// The heartbeat; only the first shard has one.
    beating: Option<JoinHandle<()>>,
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meeting").field("shard", &self.shard).field("begun", &self.begun).finish_non_exhaustive()
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.beating.iter().for_each(JoinHandle::abort);
    }
}

impl Meeting {
    /// The first shard: says that it prepares the stores of the namespace for a plan.
    pub(crate) async fn open(
        stores: &Stores,
        names: &Names,
        agreed: Agreed,
        shard: Shard,
    ) -> Result<Self, ShardsError> {
        let mut connection = connect::redis_state(stores).await?;
        let key = key(names);
        let begun = Begun { run: Uuid::new_v4(), agreed };
        let _: () = connection.del(&key).await?;
        let _: () = connection.hset(&key, BEGUN, encode(&begun)).await?;
        let beating = Some(tokio::spawn(beat(connection.clone(), key.clone())));
        Ok(Self { connection, key, shard, begun, beating })
    }

    /// The first shard: says that the stores are prepared.
    pub async fn prepared(&self) -> Result<(), ShardsError> {
        Ok(self.connection.clone().hset(&self.key, PREPARED, "true").await?)
    }

    /// Another shard: waits until the first one has prepared the stores; also returns the names of the run. `waiting` is
    /// told why.
    pub(crate) async fn join(
        (stores, names): (&Stores, &Names),
        agreed: &Agreed,
        shard: Shard,
        waiting: impl Fn(&str),
    ) -> Result<(Self, Names), ShardsError> {
        let deadline = Instant::now() + BEGUN_WITHIN;
        // What an earlier run left has no heartbeat.
        let mut seen: Option<(Begun, String)> = None;
        loop {
            match look(stores, names).await {
                Ok(Some(Found { connection, names, begun, heartbeat })) => {
                    let is_alive = seen.as_ref().is_some_and(|(run, last)| *run == begun && *last != heartbeat);
                    if is_alive {
                        let meeting = Self { connection, key: key(&names), shard, begun, beating: None };
                        meeting.take_place(agreed, waiting).await?;
                        return Ok((meeting, names));
                    }
                    seen = Some((begun, heartbeat));
                    waiting("waiting for the first shard");
                }
                Ok(None) => waiting("waiting for the first shard"),
                Err(error) => waiting(&format!("waiting until the stores can be reached: {error}")),
            }
            if Instant::now() >= deadline {
                return Err(ShardsError::NotPrepared { shard, waited: BEGUN_WITHIN });
            }
            sleep(SLOW_POLL).await;
        }
    }

    /// Joins a run whose first shard lives, and waits until that has prepared the stores.
    async fn take_place(&self, agreed: &Agreed, waiting: impl Fn(&str)) -> Result<(), ShardsError> {
        if let Some(difference) = agreed.difference(&self.begun.agreed) {
            return Err(ShardsError::OtherPlan { shard: self.shard, difference });
        }
        self.claim_place().await?;
        waiting("waiting until the first shard has prepared the stores");
        self.wait_for(PREPARED, SLOW_POLL).await.map(drop)
    }

    /// Waits for a field, as long as the first shard lives.
    async fn wait_for(&self, field: &str, every: Duration) -> Result<String, ShardsError> {
        let mut pulse = Pulse::default();
        loop {
            if let Some(value) = self.look_again(&mut pulse).await?.remove(field) {
                return Ok(value);
            }
            sleep(every).await;
        }
    }

    /// Another shard: returns when the first one is gone.
    pub async fn wait_until_gone(&self) -> ShardsError {
        let mut pulse = Pulse::default();
        loop {
            if let Err(error) = self.look_again(&mut pulse).await {
                return error;
            }
            sleep(SLOW_POLL).await;
        }
    }

    /// The fields of the hash; none while Redis does not answer. Fails when the first shard is gone.
    async fn look_again(&self, pulse: &mut Pulse) -> Result<BTreeMap<String, String>, ShardsError> {
        match self.fields().await {
            Ok(fields) if pulse.is_felt(&fields) => Ok(fields),
            Ok(_) => Err(ShardsError::Gone(self.shard)),
            Err(ShardsError::Redis(_)) => {
                *pulse = Pulse::default();
                Ok(BTreeMap::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Refuses a second process of the same shard.
    async fn claim_place(&self) -> Result<(), ShardsError> {
        let (field, own) = (format!("joined:{}", self.shard.number()), Uuid::new_v4().to_string());
        let taken_by: String = retried(Instant::now() + SAID_WITHIN, async || {
            let mut connection = self.connection.clone();
            let _: bool = connection.hset_nx(&self.key, &field, &own).await?;
            // The place is this process's also if only the answer of an earlier attempt was lost.
            Ok(connection.hget(&self.key, &field).await?)
        })
        .await?;
        if taken_by == own { Ok(()) } else { Err(ShardsError::Taken(self.shard)) }
    }

    /// The shard.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// The run, the same for all its shards and for no other run.
    pub fn run(&self) -> String {
        self.begun.run.to_string()
    }

    /// Waits until every shard is ready, and then until the instant at which all start, by the system clocks of their
    /// machines.
    pub async fn start_together(&self) -> Result<(), ShardsError> {
        self.say("ready", "true").await?;
        if self.shard.is_first() {
            self.wait_for_all("ready", READY_WITHIN, "get ready").await?;
            retried(Instant::now() + SAID_WITHIN, async || {
                let at = chrono::Utc::now() + START_AFTER;
                // The first one that arrives counts: other shards may have read it.
                let _: bool = self.connection.clone().hset_nx(&self.key, START, at.timestamp_millis()).await?;
                Ok(())
            })
            .await?;
        }
        let at = self.wait_for(START, POLL).await?;
        let at: i64 = serde_json::from_str(&at).map_err(ShardsError::Unreadable)?;
        let skew = retried(Instant::now() + SAID_WITHIN, async || self.skew().await).await?;
        if skew.unsigned_abs() > MAX_SKEW.as_millis() as u64 {
            return Err(ShardsError::Skewed { shard: self.shard, millis: skew });
        }
        let left = at - chrono::Utc::now().timestamp_millis();
        let late = || ShardsError::Late { shard: self.shard, millis: left.unsigned_abs() };
        sleep(Duration::from_millis(left.try_into().map_err(|_| late())?)).await;
        Ok(())
    }

    /// Milliseconds by which this machine's clock is ahead of the one of Redis, the same node for all shards. The time in which
    /// the answer came is shared evenly between both ways.
    async fn skew(&self) -> Result<i64, ShardsError> {
        let mut asked = redis::cmd("EVAL");
        // A script goes to the node of its key; `TIME` alone to any.
        asked.arg("return redis.call('TIME')").arg(1).arg(&self.key);
        let mut connection = self.connection.clone();
        let before = chrono::Utc::now().timestamp_micros();
        let (seconds, micros): (i64, i64) = asked.query_async(&mut connection).await?;
        let after = chrono::Utc::now().timestamp_micros();
        Ok((before.midpoint(after) - (seconds * 1_000_000 + micros)) / 1_000)
    }

    /// Says what this shard's stores have acknowledged, by index of the tenant; its drive is over.
    pub async fn finish(&self, acknowledged: &[Totals]) -> Result<(), ShardsError> {
        self.say("done", &encode(&acknowledged)).await
    }

    /// The first shard: waits until all drives are over; returns what was acknowledged to all shards together.
    pub async fn gather(&self) -> Result<Vec<Totals>, ShardsError> {
        let all = self.wait_for_all("done", DONE_WITHIN, "finish its drive").await?;
        let of_shard = |text: &String| serde_json::from_str::<Vec<Totals>>(text);
        let all = all.iter().map(of_shard).collect::<Result<Vec<_>, _>>().map_err(ShardsError::Unreadable)?;
        let tenants = all.iter().map(Vec::len).max().unwrap_or(0);
        Ok((0..tenants).map(|tenant| all.iter().filter_map(|shard| shard.get(tenant).copied()).sum()).collect())
    }

    /// Ends the agreement. Only the first shard deletes the hash.
    pub async fn close(self) {
        if self.shard.is_first() {
            self.beating.iter().for_each(JoinHandle::abort);
            let deleted: Result<(), redis::RedisError> = self.connection.clone().del(&self.key).await;
            // It expires by itself.
            drop(deleted);
        }
    }

    async fn say(&self, what: &str, value: &str) -> Result<(), ShardsError> {
        retried(Instant::now() + SAID_WITHIN, async || self.try_to_say(what, value).await).await
    }

    async fn try_to_say(&self, what: &str, value: &str) -> Result<(), ShardsError> {
        let field = format!("{what}:{}", self.shard.number());
        // Never creates the hash again after the first shard is gone.
        self.fields().await?;
        Ok(self.connection.clone().hset(&self.key, field, value).await?)
    }

    /// The fields of the hash of this run.
    async fn fields(&self) -> Result<BTreeMap<String, String>, ShardsError> {
        let fields: BTreeMap<String, String> = self.connection.clone().hgetall(&self.key).await?;
        let begun = fields.get(BEGUN).and_then(|text| serde_json::from_str::<Begun>(text).ok());
        if begun.as_ref() == Some(&self.begun) { Ok(fields) } else { Err(ShardsError::Gone(self.shard)) }
    }

    /// What every shard has said, in their order.
    async fn wait_for_all(
        &self,
        what: &str,
        within: Duration,
        doing: &'static str,
    ) -> Result<Vec<String>, ShardsError> {
        let deadline = Instant::now() + within;
        loop {
            let fields = retried(deadline, async || self.fields().await).await?;
            let said: Vec<Option<String>> =
                (1..=self.shard.of()).map(|number| fields.get(&format!("{what}:{number}")).cloned()).collect();
            let missing: Vec<u32> =
                (1..).zip(&said).filter(|(_, said)| said.is_none()).map(|(number, _)| number).collect();
            if missing.is_empty() {
                return Ok(said.into_iter().flatten().collect());
            }
            if Instant::now() >= deadline {
                return Err(ShardsError::Missing { missing, of: self.shard.of(), doing, waited: within });
            }
            sleep(POLL).await;
        }
    }
}

/// Tries again until a deadline if Redis fails.
async fn retried<T>(
    deadline: Instant,
    mut attempt: impl AsyncFnMut() -> Result<T, ShardsError>,
) -> Result<T, ShardsError> {
    loop {
        match attempt().await {
            Err(ShardsError::Redis(_)) if Instant::now() < deadline => sleep(POLL).await,
            ended => return ended,
        }
    }
}

fn key(names: &Names) -> String {
    names.key("run-shards")
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and texts always serialize")
}

/// What the first shard has said.
struct Found {
    connection: ClusterConnection,
    names: Names,
    begun: Begun,
    heartbeat: String,
}

/// What the first shard has said, if it has.
async fn look(stores: &Stores, names: &Names) -> Result<Option<Found>, ShardsError> {
    let names = runs::resolve_names(stores, names, Store::ALL).await?;
    let mut connection = connect::redis_state(stores).await?;
    let (begun, heartbeat): (Option<String>, Option<String>) =
        connection.hmget(key(&names), &[BEGUN, HEARTBEAT]).await?;
    let begun = begun.and_then(|text| serde_json::from_str(&text).ok());
    Ok(begun.zip(heartbeat).map(|(begun, heartbeat)| Found { connection, names, begun, heartbeat }))
}
