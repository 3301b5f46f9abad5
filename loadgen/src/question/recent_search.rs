//! `recent_search`: a word in the communications of a tenant on the last day before the drive, on one channel, newest
//! first: a search on each master of the Redis cache, merged. The number of hits and the first page are compared. The
//! question never asks PostgreSQL for what the cache lacks.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sluice_schemas::keyspace::RECENT_TTL;
use sluice_schemas::records::{Channel, Communication};

use super::answer::{Answer, PAGE, RecentHit};
use super::definition::{Definition, Reply};
use super::key::Key;
use super::search::{language_and_place, search_places};
use super::store::Store;
use super::subject::{Subject, reject};
use super::tally::{PastCommunication, Tally};
use crate::population::phrases::LANGUAGES;
use crate::population::search_words::{SEARCH_WORDS, search_word};
use crate::population::{Population, Tenant, rng::KeyedRng};
use crate::target::redis::{Cluster, STORE, transaction};
use crate::target::{QueryError, Targets};

/// Searches one master. `$index` is `idx:communications:{tag}` under the namespace, with the tag of that master.
const SEARCH: &str = "\
FT.SEARCH $index @tenant_id:{$tenant}@channel:{$channel}@language:{$language}@body:$word
PARAMS 8 tenant $tenant_id channel $channel_name language $language_code word $search_word
SORTBY created_ms DESC WITHSORTKEYS NOCONTENT
LIMIT 0 20
TIMEOUT 600000
DIALECT 2";

/// Copies a communication into the cache. `$key` is `recent:{communication_id}`, `$ttl` that of the key space, in seconds.
const SET: &str = "\
MULTI
JSON.SET $key $ $communication
EXPIRE $key $ttl
EXEC";

/// How far back communications are copied.
const RECENT: TimeDelta = TimeDelta::days(1);

#[derive(Debug)]
pub(super) struct RecentSearch;

impl Definition for RecentSearch {
    fn name(&self) -> &'static str {
        "recent_search"
    }

    fn store(&self) -> Store {
        Store::Redis
    }

    fn texts(&self) -> &'static [&'static str] {
        &[SEARCH, SET]
    }

    /// A word of the language of one of the tenant's customers. RediSearch lowercases only ASCII letters, and the first
    /// word of a sentence is capitalized, so words that start with another letter are not asked for.
    fn draw_key(&self, population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        let language = population.traits(tenant.index, rng.below(tenant.customers)).language;
        let first = rng.below(SEARCH_WORDS as u64) as usize;
        let mut words = (first..SEARCH_WORDS).chain(0..first).map(|place| search_word(language, place));
        let word = words.find(|word| word.starts_with(|letter: char| letter.is_ascii())).unwrap_or_default();
        let to = population.past().end;
        let from = recent_from(population);
        Key::Search { word, language: LANGUAGES[language].code, channel: rng.pick(Channel::ALL), from, to }
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let Key::Search { word, language, channel, .. } = subject.key else { reject(subject.key) };
            let tenant = subject.tenant_id().to_string();
            let values = [
                ("$tenant_id", tenant.as_str()),
                ("$channel_name", channel.as_str()),
                ("$language_code", *language),
                ("$search_word", *word),
            ];
            let found = targets.recent.search(SEARCH, &values).await?;
            let mut hits = Vec::with_capacity(found.hits.len());
            for (id, created) in found.hits {
                let created = created.and_then(DateTime::from_timestamp_millis);
                let created = created.ok_or(QueryError::Unreadable { store: STORE, what: "a hit without its time" })?;
                hits.push((created, id));
            }
            hits.sort_unstable_by_key(|hit| Reverse(*hit));
            hits.truncate(PAGE as usize);
            Ok(Answer::Recent { total: found.total, hits })
        })
    }

    fn cached_for(&self) -> Option<Duration> {
        Some(*RECENT_TTL)
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

/// First instant of the communications that are copied.
fn recent_from(population: &Population) -> DateTime<Utc> {
    let past = population.past();
    past.start.max(past.end - RECENT)
}

/// The past communications of a tenant that the load copies: those of the last day.
pub(crate) fn recent(population: &Population, tenant: &Tenant) -> std::ops::Range<u64> {
    population.first_past_at(tenant.index, recent_from(population))..tenant.past_communications
}

/// Writes the copy of a communication into the cache.
pub(crate) async fn set_recent(cache: &Cluster, communication: &Communication) -> Result<(), QueryError> {
    let document = json!({
        "tenant_id": communication.tenant_id,
        "customer_id": communication.customer_id,
        "channel": communication.channel,
        "language": communication.content.language,
        "body": communication.content.body,
        "created_ms": communication.created_at.timestamp_millis(),
    })
    .to_string();
    let key = cache.key(&format!("{PREFIX}{}", communication.id));
    let ttl = RECENT_TTL.as_secs().to_string();
    let set = transaction(SET, &[("$key", &key), ("$communication", &document), ("$ttl", &ttl)]);
    set.query_async::<redis::Value>(&mut cache.connection()).await?;
    Ok(())
}

/// What the keys of copies start with.
pub(crate) const PREFIX: &str = "recent:";

/// Recent communications that contain a search word, oldest first, by language, place of the word and channel.
#[derive(Debug, Default)]
struct Counts(HashMap<(usize, usize, Channel), Vec<RecentHit>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let PastCommunication { population, tenant, index, lifecycle, .. } = *communication;
        let created = population.past_created(tenant, index);
        if created < recent_from(population) {
            return;
        }
        for place in search_places(communication) {
            let hit = (created, population.past_communication_id(tenant, index));
            self.0.entry((lifecycle.language, place, lifecycle.channel)).or_default().push(hit);
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let Key::Search { word, language, channel, .. } = subject.key else { reject(subject.key) };
        let key = language_and_place(language, word).map(|(language, place)| (language, place, *channel));
        let mut hits = key.and_then(|key| self.0.get(&key)).cloned().unwrap_or_default();
        hits.sort_unstable_by_key(|hit| Reverse(*hit));
        Answer::Recent { total: hits.len() as u64, hits }
    }
}
