//! The heartbeat of a run of several shards: the first one counts in the hash while it lives, and the others watch. It never says
//! what to do about a shard that is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::AsyncCommands as _;
use redis::cluster_async::ClusterConnection;
use tokio::time::{Instant, sleep};

/// Time between two heartbeats of the first shard.
const BEAT: Duration = Duration::from_secs(2);
/// Time without a heartbeat, while Redis answers, after which the first shard is gone.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// Lifetime of the hash in seconds, renewed by each heartbeat.
const EXPIRES: i64 = 24 * 3_600;

/// The field of the hash that counts.
pub(super) const HEARTBEAT: &str = "heartbeat";

/// The heartbeat of the first shard, as another one sees it. A time in which Redis can't be asked is no time without one.
pub(super) struct Pulse {
    last: Option<String>,
    since: Instant,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { last: None, since: Instant::now() }
    }
}

impl Pulse {
    /// Whether the heart has beaten lately.
    pub(super) fn is_felt(&mut self, fields: &BTreeMap<String, String>) -> bool {
        let now = fields.get(HEARTBEAT);
        if now != self.last.as_ref() {
            (self.last, self.since) = (now.cloned(), Instant::now());
        }
        self.since.elapsed() < GONE_AFTER
    }
}

/// Lets the heart of the run beat in the hash at `key`, until it is aborted.
pub(super) async fn beat(mut connection: ClusterConnection, key: String) {
    loop {
        // A store that is down for a moment is told the next time.
        drop(connection.hincr::<_, _, _, i64>(&key, HEARTBEAT, 1).await);
        drop(connection.expire::<_, bool>(&key, EXPIRES).await);
        sleep(BEAT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_heart_that_stops_while_redis_answers_is_dead() {
        let said = |beat: u32| BTreeMap::from([(HEARTBEAT.to_owned(), beat.to_string())]);
        let mut pulse = Pulse::default();
        for beat in 0..40 {
            assert!(pulse.is_felt(&said(beat)));
            tokio::time::advance(GONE_AFTER / 2).await;
        }
        assert!(pulse.is_felt(&said(39)));
        tokio::time::advance(GONE_AFTER).await;
        assert!(!pulse.is_felt(&said(39)));
        assert!(pulse.is_felt(&said(40)));
        assert!(Pulse::default().is_felt(&said(39)), "after a time without an answer of Redis");
    }
}
