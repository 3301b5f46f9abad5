//! A client for Elasticsearch over HTTP. A response counts only if it is Elasticsearch's own: one without the product
//! header or without JSON is an error, regardless of its status. The client never follows a redirect or uses the
//! environment's proxy.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Client, RequestBuilder, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use reqwest::Method;

use crate::connect::{CONNECT_TIMEOUT, ConnectError, REQUEST_TIMEOUT, ran_out_of_files};
use crate::stores::{Login, Stores};

/// The header that Elasticsearch adds to each response.
const PRODUCT: (&str, &str) = ("x-elastic-product", "Elasticsearch");
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// How long a request is repeated for which Elasticsearch is too busy.
const PATIENCE: Duration = Duration::from_mins(1);
/// The wait before the first repetition; each later one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The types of errors that pass: no room in a queue, or in memory.
const BUSY: [&str; 2] = ["es_rejected_execution_exception", "circuit_breaking_exception"];

/// Why there is no response from Elasticsearch.
#[derive(Debug, thiserror::Error)]
pub enum ElasticError {
    /// The server is unreachable, or the connection broke.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another server responded in its place.
    #[error(
        "read the response to {path}: it is not Elasticsearch's ({found}); is there a proxy or another server at {address}? \
         Correct [stores.elasticsearch]"
    )]
    NotElasticsearch {
        /// The requested path.
        path: String,
        /// A description of the response, without its contents.
        found: String,
        /// The server's address.
        address: String,
    },
    /// Elasticsearch refused the request.
    #[error("request {path}: {status}: {reason}")]
    Refused {
        /// The requested path.
        path: String,
        /// The status.
        status: StatusCode,
        /// Elasticsearch's reason.
        reason: String,
    },
}

/// A client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Elastic {
    http: Client,
    url: Url,
    login: Login,
}

/// A response from Elasticsearch, of any status.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The JSON; null if the response has no body, as to HEAD.
    pub body: Value,
}

impl Elastic {
    /// Creates the client without connecting. Requests end after [`REQUEST_TIMEOUT`].
    pub fn new(stores: &Stores) -> Result<Self, ConnectError> {
        Self::limited(stores, REQUEST_TIMEOUT)
    }

    /// Creates the client without connecting. Requests end after `longest`.
    pub fn limited(stores: &Stores, longest: Duration) -> Result<Self, ConnectError> {
        let settings = &stores.elasticsearch;
        // Only a URL that ends with a slash keeps its path when another path is joined to it.
        let url = Url::parse(&format!("{}/", settings.url.trim_end_matches('/')))
            .map_err(|error| unreachable(&settings.url, &error))?;
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none());
        let http = http.connect_timeout(CONNECT_TIMEOUT).timeout(longest).build();
        let http = http.map_err(|error| unreachable(&settings.url, &error))?;
        Ok(Self { http, url, login: settings.login.clone() })
    }

    /// Sends a request and returns the response, regardless of its status. One for which Elasticsearch is too busy (429) is repeated for a
    /// minute.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, ElasticError> {
        let request = self.builder(method, path)?;
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(body.to_string()),
            None => request,
        };
        self.send(request, path).await
    }

    /// Sends a search once, whose body is JSON, and deserializes the body of a successful response.
    pub async fn search<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, ElasticError> {
        let request = self.builder(Method::POST, path)?.header(CONTENT_TYPE, JSON).body(body);
        let (status, bytes) = self.fetch(request, path).await?;
        if status.is_success()
            && let Ok(found) = serde_json::from_slice(&bytes)
        {
            return Ok(found);
        }
        // As a value, it tells what is wrong with it.
        let body = self.parse(status, &bytes, path)?.success(path)?;
        self.shaped(body, path)
    }

    /// Sends a request and deserializes the body of a successful response.
    pub async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ElasticError> {
        let body = self.request(method, path, body).await?.success(path)?;
        self.shaped(body, path)
    }

    fn shaped<T: DeserializeOwned>(&self, body: Value, path: &str) -> Result<T, ElasticError> {
        serde_json::from_value(body).map_err(|_| self.not_elasticsearch(path, "JSON of another shape"))
    }

    /// Sends newline-delimited JSON, as `_bulk` expects it, with the errors of the items in the response. It is repeated for a minute while
    /// Elasticsearch is too busy for some of them.
    pub async fn bulk(&self, path: &str, lines: impl Into<Body>) -> Result<Value, ElasticError> {
        let request = self.builder(Method::POST, path)?.header(CONTENT_TYPE, NDJSON).body(lines);
        self.send(request, path).await?.success(path)
    }

    fn builder(&self, method: Method, path: &str) -> Result<RequestBuilder, ElasticError> {
        let url =
            self.url.join(path.trim_start_matches('/')).map_err(|error| unreachable(self.url.as_str(), &error))?;
        let request = self.http.request(method, url);
        let Login { user, password } = &self.login;
        Ok(if user.is_empty() { request } else { request.basic_auth(user, Some(password.reveal())) })
    }

    /// Sends a request until Elasticsearch is not too busy for it.
    async fn send(&self, request: RequestBuilder, path: &str) -> Result<Response, ElasticError> {
        let (started, mut pause, mut request) = (Instant::now(), FIRST_PAUSE, request);
        loop {
            let again = request.try_clone();
            let (status, bytes) = self.fetch(request, path).await?;
            let response = self.parse(status, &bytes, path)?;
            match again.filter(|_| response.is_busy() && started.elapsed() + pause <= PATIENCE) {
                Some(again) => request = again,
                None => return Ok(response),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The body of a response, once it is known to be Elasticsearch's own.
    async fn fetch(&self, request: RequestBuilder, path: &str) -> Result<(StatusCode, Bytes), ElasticError> {
        let broken = |error: reqwest::Error| unreachable(self.url.as_str(), &error.without_url());
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.not_elasticsearch(path, &format!("{status}, which is not followed")));
        }
        if !has_product_header(response.headers()) {
            return Err(self.not_elasticsearch(path, &format!("{status} without the product header")));
        }
        Ok((status, response.bytes().await.map_err(broken)?))
    }

    fn parse(&self, status: StatusCode, bytes: &[u8], path: &str) -> Result<Response, ElasticError> {
        if bytes.is_empty() {
            return Ok(Response { status, body: Value::Null });
        }
        match serde_json::from_slice(bytes) {
            Ok(body) => Ok(Response { status, body }),
            Err(_) => Err(self.not_elasticsearch(path, &format!("{status} with a body that is not JSON"))),
        }
    }

    fn not_elasticsearch(&self, path: &str, found: &str) -> ElasticError {
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let address = self.url.as_str().trim_end_matches('/').to_owned();
        ElasticError::NotElasticsearch { path: path.to_owned(), found: found.to_owned(), address }
    }
}

fn has_product_header(headers: &HeaderMap) -> bool {
    headers.get(PRODUCT.0).is_some_and(|product| product.as_bytes() == PRODUCT.1.as_bytes())
}

impl Response {
    /// Whether the same request may succeed later: all of it, or some items of a `_bulk` request, found no room.
    fn is_busy(&self) -> bool {
        let is_busy = |item: &Value| BUSY.iter().any(|busy| item["index"]["error"]["type"] == *busy);
        self.status == StatusCode::TOO_MANY_REQUESTS
            || self.body["items"].as_array().is_some_and(|items| items.iter().any(is_busy))
    }

    /// The body of a successful response; any other is an error with Elasticsearch's reason.
    pub fn success(self, path: &str) -> Result<Value, ElasticError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let reason = self.body["error"]["reason"].as_str().map_or_else(|| self.body.to_string(), str::to_owned);
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        Err(ElasticError::Refused { path: path.to_owned(), status: self.status, reason })
    }
}

/// The whole chain of causes: the outermost error states only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn unreachable(address: &str, error: &(dyn std::error::Error + 'static)) -> ConnectError {
    let (cause, out_of_files) = (chain(error), ran_out_of_files(error));
    let address = address.trim_end_matches('/').to_owned();
    ConnectError { out_of_files, ..ConnectError::because("Elasticsearch", "elasticsearch", address, cause) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_keeps_its_path() {
        let mut stores = Stores::local(1);
        stores.elasticsearch.url = "http://host:9200/es".to_owned();
        let client = Elastic::new(&stores).unwrap();
        let request = client.builder(Method::GET, "/_cat/indices/a-*?format=json").unwrap().build().unwrap();
        assert_eq!(request.url().as_str(), "http://host:9200/es/_cat/indices/a-*?format=json");
    }

    #[test]
    fn what_found_no_room_is_sent_again_and_nothing_else() {
        let response = |status: u16, body| Response { status: StatusCode::from_u16(status).unwrap(), body };
        let item = |kind: &str| json!({"errors": true, "items": [{"index": {"error": {"type": kind}}}, {}]});
        assert!(response(429, json!({})).is_busy() && response(200, item(BUSY[0])).is_busy());
        assert!(!response(200, item("mapper_parsing_exception")).is_busy());
        assert!(!response(200, json!({"errors": false})).is_busy() && !response(404, Value::Null).is_busy());
    }

    #[test]
    fn only_a_response_with_the_product_header_is_elasticsearchs() {
        let mut headers = HeaderMap::new();
        assert!(!has_product_header(&headers));
        headers.insert(PRODUCT.0, "elasticsearch-like".parse().unwrap());
        assert!(!has_product_header(&headers));
        headers.insert(PRODUCT.0, PRODUCT.1.parse().unwrap());
        assert!(has_product_header(&headers));
    }
}
