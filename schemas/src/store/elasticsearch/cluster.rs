//! What is asked of an Elasticsearch cluster: what it offers, and get, put and delete of one object.
//! A missing object is `None` or nothing to delete, never an error.

use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::request::JsonBody;
use elasticsearch::http::{Method, StatusCode};
use serde_json::Value;

use crate::connect::{self, ConnectError};
use crate::error::{SchemaError, refused};
use crate::store::Store;
use crate::stores::Stores;

/// What a cluster has that the files would like to use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offers {
    pub(super) data_nodes: usize,
    pub(super) lifecycle: bool,
    pub(super) searchable_snapshots: bool,
    pub(super) languages: bool,
}

/// A cluster.
pub(super) struct Cluster {
    client: elasticsearch::Elasticsearch,
    url: String,
}

impl Cluster {
    pub(super) fn connect(stores: &Stores) -> Result<Self, SchemaError> {
        Ok(Self { client: connect::elasticsearch(stores)?, url: stores.elasticsearch.url.clone() })
    }

    /// Asks the cluster what it has; a build without a module answers 4xx where the module would answer.
    pub(super) async fn offers(&self) -> Result<Offers, SchemaError> {
        let (_, health) = self.send(Method::Get, "/_cluster/health", None).await?;
        let (lifecycle, _) = self.send(Method::Get, "/_ilm/policy", None).await?;
        let (_, paid) = self.send(Method::Get, "/_license", None).await?;
        let word = serde_json::json!({"analyzer": "english", "text": "word"});
        let (languages, _) = self.send(Method::Post, "/_analyze", Some(&word)).await?;
        let licence = paid["license"]["type"].as_str().unwrap_or("none");
        Ok(Offers {
            data_nodes: health["number_of_data_nodes"].as_u64().unwrap_or(1) as usize,
            lifecycle: lifecycle.is_success(),
            searchable_snapshots: matches!(licence, "enterprise" | "trial"),
            languages: languages.is_success(),
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, SchemaError> {
        let (status, answer) = self.send(Method::Get, path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        success(status, answer, || format!("read {path}")).map(Some)
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), SchemaError> {
        let (status, answer) = self.send(Method::Put, path, Some(body)).await?;
        success(status, answer, || format!("apply {path}")).map(drop)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), SchemaError> {
        let (status, answer) = self.send(Method::Delete, path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        success(status, answer, || format!("delete {path}")).map(drop)
    }

    /// Names of the indices that match a pattern.
    pub(super) async fn indices(&self, pattern: &str) -> Result<Vec<String>, SchemaError> {
        let listed = self.get(&format!("/_cat/indices/{pattern}?format=json&h=index&expand_wildcards=all")).await?;
        let listed = listed.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(listed.iter().filter_map(|row| row["index"].as_str()).map(str::to_owned).collect())
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), SchemaError> {
        let body = body.map(JsonBody::new);
        let sent = self.client.send(method, path, HeaderMap::new(), None::<&()>, body, None).await;
        let response = sent.map_err(|error| ConnectError {
            store: "Elasticsearch",
            section: "elasticsearch",
            address: self.url.clone(),
            cause: error.to_string(),
        })?;
        let status = response.status_code();
        let text =
            response.text().await.map_err(refused(Store::Elasticsearch, format!("read the answer to {path}")))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

fn success(status: StatusCode, answer: Value, doing: impl Fn() -> String) -> Result<Value, SchemaError> {
    if status.is_success() {
        return Ok(answer);
    }
    let reason = answer["error"]["reason"].as_str().map_or_else(|| answer.to_string(), str::to_owned);
    Err(refused(Store::Elasticsearch, doing())(format!("{status}: {reason}")))
}
