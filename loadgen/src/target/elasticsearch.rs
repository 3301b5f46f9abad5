//! The question for Elasticsearch: words in the communications of one tenant, by channel, language and time.
//! A search goes in, the number of hits and the first page come out. Never asks without the tenant's filter and routing.

use serde::Deserialize;
use serde_json::Value;
use sluice_schemas::elastic::{Elastic, Method};
use sluice_schemas::names::Names;
use sluice_schemas::records::Channel;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::{AskError, Span};

/// The body of `POST /communications-*/_search?routing=$tenant`.
pub const SEARCH: &str = r#"{
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

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The tenant that asks.
    pub tenant: Uuid,
    /// Words that a hit holds all of.
    pub words: String,
    /// The hit's channel.
    pub channel: Channel,
    /// The hit's language, ISO 639-1.
    pub language: String,
    /// When the hit was created.
    pub span: Span,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    /// All hits.
    pub total: u64,
    /// Whether each hit of the first page is the tenant's, on the channel and in the language asked for.
    pub fit: bool,
}

/// Elasticsearch, asked over HTTP.
#[derive(Debug, Clone)]
pub struct Searcher {
    client: Elastic,
    indices: String,
}

impl Searcher {
    /// Makes the client; opens no connection yet.
    pub(super) fn new(stores: &Stores, names: &Names) -> Result<Self, AskError> {
        Ok(Self { client: Elastic::new(stores)?, indices: names.index("communications-*") })
    }

    /// [`SEARCH`].
    pub async fn search(&self, search: &Search) -> Result<Hits, AskError> {
        let path = format!("/{}/_search?routing={}", self.indices, search.tenant);
        let answer: Answer = self.client.read(Method::POST, &path, Some(&body(search))).await?;
        // A search that some shards did not answer is a failure, not a short answer.
        if answer.timed_out || answer.shards.failed > 0 {
            return Err(AskError::Unreadable { store: "Elasticsearch", what: "a partial answer" });
        }
        let fit = answer.hits.hits.iter().all(|hit| hit.source.fits(search));
        Ok(Hits { total: answer.hits.total.value, fit })
    }
}

fn body(search: &Search) -> Value {
    let quoted = |text: &str| Value::from(text).to_string();
    let text = SEARCH
        .replace("\"$words\"", &quoted(&search.words))
        .replace("\"$tenant\"", &quoted(&search.tenant.to_string()))
        .replace("\"$channel\"", &quoted(search.channel.as_str()))
        .replace("\"$language\"", &quoted(&search.language))
        .replace("\"$from\"", &quoted(&search.span.from.to_rfc3339()))
        .replace("\"$to\"", &quoted(&search.span.to.to_rfc3339()));
    serde_json::from_str(&text).expect("a JSON text stays one when quoted strings take the place of quoted strings")
}

#[derive(Deserialize)]
struct Answer {
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
    #[serde(rename = "_source")]
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    tenant_id: Uuid,
    channel: Channel,
    language: String,
}

impl Source {
    fn fits(&self, search: &Search) -> bool {
        self.tenant_id == search.tenant && self.channel == search.channel && self.language == search.language
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};

    use super::*;

    #[test]
    fn words_are_quoted_into_the_body_and_nothing_is_left_open() {
        let search = Search {
            tenant: Uuid::nil(),
            words: "so-called \"final\" notice".to_owned(),
            channel: Channel::Sms,
            language: "de".to_owned(),
            span: Span { from: Utc.timestamp_nanos(0), to: Utc.timestamp_nanos(1) },
        };
        let body = body(&search);
        assert_eq!(body["query"]["bool"]["must"][0]["match"]["content"]["query"], "so-called \"final\" notice");
        assert!(!body.to_string().contains('$'));
    }
}
