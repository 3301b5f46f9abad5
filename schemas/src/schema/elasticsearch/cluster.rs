//! What is asked of an Elasticsearch cluster: what it offers, and get, put and delete of one object.
//! A missing object is `None` or nothing to delete, never an error.

use reqwest::StatusCode;
use serde_json::Value;

use crate::elastic::{Answer, Elastic, ElasticError, Method};
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
    client: Elastic,
}

impl Cluster {
    pub(super) fn connect(stores: &Stores) -> Result<Self, SchemaError> {
        Ok(Self { client: Elastic::new(stores)? })
    }

    /// Asks the cluster what it has; a build without a module answers 4xx where the module would answer.
    pub(super) async fn offers(&self) -> Result<Offers, SchemaError> {
        let health = self.ask(Method::GET, "/_cluster/health", None).await?.body;
        let lifecycle = self.ask(Method::GET, "/_ilm/policy", None).await?.status.is_success();
        let paid = self.ask(Method::GET, "/_license", None).await?.body;
        let word = serde_json::json!({"analyzer": "english", "text": "word"});
        let languages = self.ask(Method::POST, "/_analyze", Some(&word)).await?.status.is_success();
        let licence = paid["license"]["type"].as_str().unwrap_or("none");
        Ok(Offers {
            data_nodes: health["number_of_data_nodes"].as_u64().unwrap_or(1) as usize,
            lifecycle,
            searchable_snapshots: matches!(licence, "enterprise" | "trial"),
            languages,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, SchemaError> {
        let answer = self.ask(Method::GET, path, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer.success(path).map(Some).map_err(failed(format!("read {path}")))
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), SchemaError> {
        acknowledged(self.ask(Method::PUT, path, Some(body)).await?, path, "apply")
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), SchemaError> {
        let answer = self.ask(Method::DELETE, path, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        acknowledged(answer, path, "delete")
    }

    /// Names of the indices that match a pattern.
    pub(super) async fn indices(&self, pattern: &str) -> Result<Vec<String>, SchemaError> {
        let listed = self.get(&format!("/_cat/indices/{pattern}?format=json&h=index&expand_wildcards=all")).await?;
        let listed = listed.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(listed.iter().filter_map(|row| row["index"].as_str()).map(str::to_owned).collect())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, SchemaError> {
        self.client.ask(method, path, body).await.map_err(failed(format!("ask {path}")))
    }
}

fn failed(doing: String) -> impl FnOnce(ElasticError) -> SchemaError {
    |error| match error {
        ElasticError::Connect(error) => error.into(),
        other => refused(Store::Elasticsearch, doing)(other),
    }
}

/// A change counts when the cluster says that it has acknowledged it.
fn acknowledged(answer: Answer, path: &str, verb: &str) -> Result<(), SchemaError> {
    let body = answer.success(path).map_err(failed(format!("{verb} {path}")))?;
    if body["acknowledged"] == true {
        return Ok(());
    }
    Err(refused(Store::Elasticsearch, format!("{verb} {path}"))("the answer does not say that it was acknowledged"))
}
