//! Requests to an Elasticsearch cluster: its features, and get, put and delete of one object.
//! A missing object is never an error.

use reqwest::StatusCode;
use serde_json::Value;

use crate::elastic::{Elastic, ElasticError, Method, Response};
use crate::error::{SchemaError, refused};
use crate::store::Store;
use crate::stores::Stores;

/// The optional features of a cluster that the files use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features {
    pub(super) data_nodes: usize,
    pub(super) lifecycle: bool,
    pub(super) searchable_snapshots: bool,
    pub(super) language_analyzers: bool,
}

/// A cluster.
pub(super) struct Cluster {
    client: Elastic,
}

impl Cluster {
    pub(super) fn connect(stores: &Stores) -> Result<Self, SchemaError> {
        Ok(Self { client: Elastic::new(stores)? })
    }

    /// Detects the features: a build without a module responds with 4xx to that module's requests.
    pub(super) async fn features(&self) -> Result<Features, SchemaError> {
        let health = self.request(Method::GET, "/_cluster/health", None).await?.body;
        let lifecycle = self.request(Method::GET, "/_ilm/policy", None).await?.status.is_success();
        let license = self.request(Method::GET, "/_license", None).await?.body;
        let word = serde_json::json!({"analyzer": "english", "text": "word"});
        let language_analyzers = self.request(Method::POST, "/_analyze", Some(&word)).await?.status.is_success();
        let tier = license["license"]["type"].as_str().unwrap_or("none");
        Ok(Features {
            data_nodes: health["number_of_data_nodes"].as_u64().unwrap_or(1) as usize,
            lifecycle,
            searchable_snapshots: matches!(tier, "enterprise" | "trial"),
            language_analyzers,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, SchemaError> {
        let response = self.request(Method::GET, path, None).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        response.success(path).map(Some).map_err(failed(format!("read {path}")))
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), SchemaError> {
        check_acknowledged(self.request(Method::PUT, path, Some(body)).await?, path, "apply")
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), SchemaError> {
        let response = self.request(Method::DELETE, path, None).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        check_acknowledged(response, path, "delete")
    }

    /// Names of the indices that match a pattern.
    pub(super) async fn indices(&self, pattern: &str) -> Result<Vec<String>, SchemaError> {
        let listed = self.get(&format!("/_cat/indices/{pattern}?format=json&h=index&expand_wildcards=all")).await?;
        let listed = listed.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(listed.iter().filter_map(|row| row["index"].as_str()).map(str::to_owned).collect())
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, SchemaError> {
        self.client.request(method, path, body).await.map_err(failed(format!("request {path}")))
    }
}

fn failed(doing: String) -> impl FnOnce(ElasticError) -> SchemaError {
    |error| match error {
        ElasticError::Connect(error) => error.into(),
        other => refused(Store::Elasticsearch, doing)(other),
    }
}

/// Fails unless the response confirms that the change was acknowledged.
fn check_acknowledged(response: Response, path: &str, verb: &str) -> Result<(), SchemaError> {
    let body = response.success(path).map_err(failed(format!("{verb} {path}")))?;
    if body["acknowledged"] == true {
        return Ok(());
    }
    Err(refused(Store::Elasticsearch, format!("{verb} {path}"))(
        "the response does not confirm that it was acknowledged",
    ))
}
