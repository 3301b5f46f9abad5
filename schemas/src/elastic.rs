//! Elasticsearch over HTTP: a method, a path and a body go in, a status and JSON come out.
//! An answer counts only if it is Elasticsearch's own: no redirect is followed, no proxy of the environment is used, and
//! what lacks the product header or is not JSON is an error, whatever its status.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Client, RequestBuilder, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use reqwest::Method;

use crate::connect::{CONNECT_TIMEOUT, ConnectError, REQUEST_TIMEOUT};
use crate::stores::{Login, Stores};

/// The header that Elasticsearch puts into each of its answers.
const PRODUCT: (&str, &str) = ("x-elastic-product", "Elasticsearch");
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Why there is no answer of Elasticsearch's.
#[derive(Debug, thiserror::Error)]
pub enum ElasticError {
    /// It cannot be reached, or broke off.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Something else answered in its place.
    #[error(
        "read the answer to {path}: it is not an answer of Elasticsearch ({what}); is there a proxy or another server at \
         {address}? Correct [stores.elasticsearch]"
    )]
    NotElasticsearch {
        /// What was asked.
        path: String,
        /// What came, without its contents.
        what: String,
        /// Where it was asked.
        address: String,
    },
    /// It refused.
    #[error("ask {path}: {status}: {reason}")]
    Refused {
        /// What was asked.
        path: String,
        /// Its status.
        status: StatusCode,
        /// Its reason.
        reason: String,
    },
}

/// A client. Its clones share their connections.
#[derive(Debug, Clone)]
pub struct Elastic {
    http: Client,
    url: Url,
    login: Login,
}

/// An answer of Elasticsearch's, of any status.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its JSON; null where the answer has no body, as that to HEAD.
    pub body: Value,
}

impl Elastic {
    /// Makes the client. Opens no connection yet.
    pub fn new(stores: &Stores) -> Result<Self, ConnectError> {
        let settings = &stores.elasticsearch;
        // With its slash the address keeps its own path when another is joined to it.
        let url = Url::parse(&format!("{}/", settings.url.trim_end_matches('/')))
            .map_err(|error| unreachable(&settings.url, error.to_string()))?;
        let http = Client::builder().no_proxy().redirect(redirect::Policy::none());
        let http = http.connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT).build();
        let http = http.map_err(|error| unreachable(&settings.url, error.to_string()))?;
        Ok(Self { http, url, login: settings.login.clone() })
    }

    /// Asks, and returns the answer whatever its status.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, ElasticError> {
        let request = self.request(method, path)?;
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(body.to_string()),
            None => request,
        };
        self.send(request, path).await
    }

    /// Asks, and reads the answer of a success.
    pub async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ElasticError> {
        let answer = self.ask(method, path, body).await?.success(path)?;
        serde_json::from_value(answer).map_err(|_| self.not_its_own(path, "JSON of another form"))
    }

    /// Sends lines of JSON, as `_bulk` takes them.
    pub async fn lines(&self, path: &str, lines: impl Into<Body>) -> Result<Value, ElasticError> {
        let request = self.request(Method::POST, path)?.header(CONTENT_TYPE, LINES).body(lines);
        self.send(request, path).await?.success(path)
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ElasticError> {
        let url = self
            .url
            .join(path.trim_start_matches('/'))
            .map_err(|error| unreachable(self.url.as_str(), error.to_string()))?;
        let request = self.http.request(method, url);
        let Login { user, password } = &self.login;
        Ok(if user.is_empty() { request } else { request.basic_auth(user, Some(password.reveal())) })
    }

    async fn send(&self, request: RequestBuilder, path: &str) -> Result<Answer, ElasticError> {
        let broken = |error: reqwest::Error| unreachable(self.url.as_str(), chain(&error.without_url()));
        let response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(self.not_its_own(path, &format!("{status}, which is not followed")));
        }
        if !is_own(response.headers()) {
            return Err(self.not_its_own(path, &format!("{status} without its product header")));
        }
        let text = response.bytes().await.map_err(broken)?;
        if text.is_empty() {
            return Ok(Answer { status, body: Value::Null });
        }
        match serde_json::from_slice(&text) {
            Ok(body) => Ok(Answer { status, body }),
            Err(_) => Err(self.not_its_own(path, &format!("{status} with a body that is not JSON"))),
        }
    }

    fn not_its_own(&self, path: &str, what: &str) -> ElasticError {
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let address = self.url.as_str().trim_end_matches('/').to_owned();
        ElasticError::NotElasticsearch { path: path.to_owned(), what: what.to_owned(), address }
    }
}

fn is_own(headers: &HeaderMap) -> bool {
    headers.get(PRODUCT.0).is_some_and(|product| product.as_bytes() == PRODUCT.1.as_bytes())
}

impl Answer {
    /// The body of a success; what was refused is an error with Elasticsearch's reason.
    pub fn success(self, path: &str) -> Result<Value, ElasticError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let reason = self.body["error"]["reason"].as_str().map_or_else(|| self.body.to_string(), str::to_owned);
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        Err(ElasticError::Refused { path: path.to_owned(), status: self.status, reason })
    }
}

/// The outermost error says only that a request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn unreachable(address: &str, cause: String) -> ConnectError {
    let address = address.trim_end_matches('/').to_owned();
    ConnectError { store: "Elasticsearch", section: "elasticsearch", address, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_path() {
        let mut stores = Stores::local(1);
        stores.elasticsearch.url = "http://host:9200/es".to_owned();
        let client = Elastic::new(&stores).unwrap();
        let request = client.request(Method::GET, "/_cat/indices/a-*?format=json").unwrap().build().unwrap();
        assert_eq!(request.url().as_str(), "http://host:9200/es/_cat/indices/a-*?format=json");
    }

    #[test]
    fn only_the_product_header_makes_an_answer_its_own() {
        let mut headers = HeaderMap::new();
        assert!(!is_own(&headers));
        headers.insert(PRODUCT.0, "elasticsearch-like".parse().unwrap());
        assert!(!is_own(&headers));
        headers.insert(PRODUCT.0, PRODUCT.1.parse().unwrap());
        assert!(is_own(&headers));
    }
}
