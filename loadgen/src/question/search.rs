//! `search`: a word in the communications of one tenant, by channel, language and time, in Elasticsearch.
//! The number of hits is compared, and every hit on the first page: its identifier, tenant, channel, language, time and
//! word. Every search has the tenant's filter and routing. The order of the hits is not compared.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sluice_schemas::records::Channel;
use uuid::Uuid;

use super::answer::Answer;
use super::definition::{Definition, Reply};
use super::key::{Key, Window};
use super::store::Store;
use super::subject::{Subject, reject};
use super::tally::{PastCommunication, Tally};
use crate::population::phrases::LANGUAGES;
use crate::population::search_words::{SEARCH_WORDS, search_place, search_word};
use crate::population::{Era, Population, Tenant, rng::KeyedRng};
use crate::target::{QueryError, Targets};

const STORE: &str = "Elasticsearch";

/// The body of `POST /communications-*/_search?routing=$tenant`.
const QUERY: &str = r#"{
  "size": 20,
  "track_total_hits": true,
  "query": {
    "bool": {
      "must": [
        {"match": {"content": {"query": "$words", "operator": "and"}}}
      ],
      "filter": [
        {"term": {"tenant_id": "$tenant"}},
        {"term": {"channel": "$channel"}},
        {"term": {"language": "$language"}},
        {"range": {"timestamp": {"gte": "$from", "lt": "$to"}}}
      ]
    }
  }
}"#;

#[derive(Debug)]
pub(super) struct Search;

impl Definition for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn store(&self) -> Store {
        Store::Elasticsearch
    }

    fn texts(&self) -> &'static [&'static str] {
        &[QUERY]
    }

    /// A word of the language of one of the tenant's customers.
    fn draw_key(&self, population: &Population, tenant: &Tenant, rng: &mut KeyedRng) -> Key {
        let language = population.traits(tenant.index, rng.below(tenant.customers)).language;
        let word = search_word(language, rng.below(SEARCH_WORDS as u64) as usize);
        let channel = rng.pick(Channel::ALL);
        let Window { from, to } = Window::draw(population, rng);
        Key::Search { word, language: LANGUAGES[language].code, channel, from, to }
    }

    fn ask<'a>(&self, targets: &'a Targets, subject: Subject<'a>) -> Reply<'a> {
        Box::pin(async move {
            let terms = Terms::new(subject);
            let response: Response = targets.searcher.search(terms.tenant, terms.body()).await?;
            let ids = terms.check(&response)?;
            Ok(Answer::Hits { total: response.hits.total.value, ids })
        })
    }

    fn tally(&self, _days: usize) -> Box<dyn Tally> {
        Box::new(Counts::default())
    }
}

/// What a hit must match.
#[derive(Debug, Clone, Copy)]
struct Terms<'a> {
    tenant: Uuid,
    words: &'a str,
    channel: Channel,
    language: &'a str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl<'a> Terms<'a> {
    fn new(subject: Subject<'a>) -> Self {
        match subject.key {
            Key::Search { word: words, language, channel, from, to } => {
                Self { tenant: subject.tenant_id(), words, channel: *channel, language, from: *from, to: *to }
            }
            other => reject(other),
        }
    }

    fn body(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        QUERY
            .replace("\"$words\"", &quoted(self.words))
            .replace("\"$tenant\"", &quoted(&self.tenant.to_string()))
            .replace("\"$channel\"", &quoted(self.channel.as_str()))
            .replace("\"$language\"", &quoted(self.language))
            .replace("\"$from\"", &quoted(&self.from.to_rfc3339()))
            .replace("\"$to\"", &quoted(&self.to.to_rfc3339()))
    }

    /// The identifiers on the page. Rejects a partial response, and a page with a hit that the search excludes or that is no
    /// communication.
    fn check(&self, response: &Response) -> Result<Vec<Uuid>, QueryError> {
        if response.timed_out || response.shards.failed > 0 {
            return Err(QueryError::Unreadable { store: STORE, what: "a partial response" });
        }
        let matches = |hit: &Hit| {
            let Source { tenant_id, channel, language, content, timestamp } = Source::deserialize(&hit.source).ok()?;
            let fits = (tenant_id, channel, language.as_str()) == (self.tenant, self.channel, self.language)
                && (self.from..self.to).contains(&timestamp)
                && content.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| word == self.words);
            hit.id.parse().ok().filter(|_| fits)
        };
        let ids: Option<Vec<Uuid>> = response.hits.hits.iter().map(matches).collect();
        ids.ok_or(QueryError::ForeignRow(STORE))
    }
}

#[derive(Deserialize)]
struct Response {
    timed_out: bool,
    #[serde(rename = "_shards")]
    shards: Shards,
    hits: Page,
}

#[derive(Deserialize)]
struct Shards {
    failed: u64,
}

#[derive(Deserialize)]
struct Page {
    total: Total,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Value,
}

#[derive(Deserialize)]
struct Source {
    tenant_id: Uuid,
    channel: Channel,
    language: String,
    content: String,
    timestamp: DateTime<Utc>,
}

/// The places of the search words that a communication contains, each once.
pub(super) fn search_places<'a>(communication: &PastCommunication<'a>) -> impl Iterator<Item = usize> + use<'a> {
    let PastCommunication { population, tenant, index, lifecycle, .. } = *communication;
    let words = population.body_words(Era::Past, tenant, index, lifecycle.channel);
    let mut found = 0_u64;
    words.filter_map(|word| search_place(word.rank)).filter(move |&place| {
        let is_first = found & 1 << place == 0;
        found |= 1 << place;
        is_first
    })
}

/// The index of a language and the place of its search word.
pub(super) fn language_and_place(code: &str, word: &str) -> Option<(usize, usize)> {
    let language = LANGUAGES.iter().position(|known| known.code == code)?;
    Some((language, (0..SEARCH_WORDS).find(|&place| search_word(language, place) == word)?))
}

/// Indices of the communications that contain a search word, in order, by language, place of the word and channel.
#[derive(Debug, Default)]
struct Counts(HashMap<(usize, usize, Channel), Vec<u32>>);

impl Tally for Counts {
    fn count_communication(&mut self, communication: &PastCommunication<'_>) {
        let PastCommunication { index, lifecycle, .. } = *communication;
        for place in search_places(communication) {
            // A scenario has at most 100 million communications.
            self.0.entry((lifecycle.language, place, lifecycle.channel)).or_default().push(index as u32);
        }
    }

    fn expected(&self, subject: Subject<'_>) -> Answer {
        let (population, tenant) = (subject.population, subject.tenant);
        let Terms { words, language, channel, from, to, .. } = Terms::new(subject);
        let key = language_and_place(language, words).map(|(language, place)| (language, place, channel));
        let indices = key.and_then(|key| self.0.get(&key)).map_or(&[][..], Vec::as_slice);
        let before = |instant| {
            let first = population.first_past_at(tenant, instant);
            indices.partition_point(|&index| u64::from(index) < first)
        };
        let id = |&index: &u32| population.past_communication_id(tenant, u64::from(index));
        let ids: Vec<Uuid> = indices[before(from)..before(to)].iter().map(id).collect();
        Answer::Hits { total: ids.len() as u64, ids }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_quoted_into_the_body_and_no_placeholder_remains() {
        let terms = Terms {
            tenant: Uuid::nil(),
            words: "so-called \"final\" notice",
            channel: Channel::Sms,
            language: "de",
            from: Utc.timestamp_nanos(0),
            to: Utc.timestamp_nanos(1),
        };
        let text = terms.body();
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["query"]["bool"]["must"][0]["match"]["content"]["query"], "so-called \"final\" notice");
        assert!(!text.contains('$'));
    }

    /// Checks the page of a search with one hit, in which `value` replaces what is at `place`.
    fn checked(place: &str, value: Value) -> Result<Vec<Uuid>, QueryError> {
        let tenant = Uuid::from_u128(7);
        let (from, to) = (Utc.timestamp_nanos(1_000_000_000), Utc.timestamp_nanos(3_000_000_000));
        let terms = Terms { tenant, words: "invoice", channel: Channel::Sms, language: "en", from, to };
        let source = json!({
            "tenant_id": tenant, "channel": "sms", "language": "en", "content": "Your Invoice, again",
            "timestamp": "1970-01-01T00:00:02Z"
        });
        let hits = json!({"total": {"value": 1}, "hits": [{"_id": Uuid::nil(), "_source": source}]});
        let mut page = json!({"timed_out": false, "_shards": {"failed": 0}, "hits": hits});
        *page.pointer_mut(place).unwrap() = value;
        terms.check(&serde_json::from_value(page).unwrap())
    }

    #[test]
    fn a_hit_that_the_search_excludes_is_no_answer() {
        assert!(checked("/hits/total/value", json!(1)).is_ok());
        let foreign = [
            ("tenant_id", json!(Uuid::from_u128(8))),
            ("channel", json!("email")),
            ("language", json!("de")),
            ("content", json!("Your invoices")),
            ("timestamp", json!("1970-01-01T00:00:00.999Z")),
            ("timestamp", json!("1970-01-01T00:00:03Z")),
        ];
        let of_source = foreign.map(|(field, value)| (format!("/hits/hits/0/_source/{field}"), value));
        // Documents that no load wrote.
        let others = [("/hits/hits/0/_id", json!("mine")), ("/hits/hits/0/_source", json!({"text": "invoice"}))];
        let others = others.map(|(place, value)| (place.to_owned(), value));
        for (place, value) in of_source.into_iter().chain(others) {
            let result = checked(&place, value);
            assert!(matches!(result, Err(QueryError::ForeignRow(_))), "{place}");
        }
        for (place, value) in [("/timed_out", json!(true)), ("/_shards/failed", json!(1))] {
            assert!(matches!(checked(place, value), Err(QueryError::Unreadable { .. })), "{place}");
        }
    }
}
