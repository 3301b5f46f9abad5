//! `rate_limit`: whether a tenant may send one more message on a channel in this minute: a counter of the Redis state
//! cluster. A request is allowed exactly if its number is within the limit. The question never resets a counter.

use sluice_schemas::keyspace::RATE_TTL;
use sluice_schemas::records::Channel;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::Key;
use super::store::Store;
use super::subject::{Subject, reject};
use super::tally::Tally;
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::Targets;
use crate::target::redis::command;

/// Counts a request. `$key` is `rate:{channel}:{tenant_id}` under the namespace, `$ttl` that of the key space, in seconds.
const COUNT: &str = "EVAL $script 1 $key $limit $ttl";

/// One command on the server, so that no two requests have the same number and no counter stays without an end.
const SCRIPT: &str = "\
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
local allowed = 0
if count <= tonumber(ARGV[1]) then
  allowed = 1
end
return {allowed, count, redis.call('TTL', KEYS[1])}";

/// Requests of a tenant on a channel that are allowed in a minute.
pub(super) const LIMIT: u64 = 30;

#[derive(Debug)]
pub(super) struct RateLimit;

impl Definition for RateLimit {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn writes(&self) -> bool {
        true
    }

    fn texts(&self) -> &'static [&'static str] {
        &[COUNT, SCRIPT]
    }

    fn draw_key(&self, _population: &Population, _tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        Key::Channel(rng.pick(Channel::ALL))
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let Key::Channel(channel) = subject.key else { reject(subject.key) };
            let key = targets.state.key(&format!("rate:{}:{}", channel.as_str(), subject.tenant_id()));
            let (limit, ttl) = (LIMIT.to_string(), RATE_TTL.as_secs().to_string());
            let values = [("$script", SCRIPT), ("$key", &key), ("$limit", &limit), ("$ttl", &ttl)];
            let reply: (bool, u64, i64) = command(COUNT, &values).query_async(&mut targets.state.connection()).await?;
            let (allowed, count, ttl) = reply;
            Ok(Answer::Rate { allowed, count, ttl: ttl..=ttl })
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Expected)
    }
}

/// The highest number that is allowed.
#[derive(Debug)]
struct Expected;

impl Tally for Expected {
    fn expected(&self, _subject: Subject<'_>) -> Answer {
        Answer::Rate { allowed: true, count: LIMIT, ttl: 0..=RATE_TTL.as_secs().cast_signed() }
    }
}
