//! Signed requests to an S3 server. A subresource that is not set reads as empty, an unsupported one is reported with
//! the server's reason, and every other failure is an error. The client never follows a redirect.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::{StatusCode, Url, redirect};
use rusty_s3::{Bucket, Method, UrlStyle, signing};
use sha2::{Digest, Sha256};

use super::aspect::Aspect;
use super::xml;
use crate::connect::{CONNECT_TIMEOUT, ConnectError, REQUEST_TIMEOUT};
use crate::error::{SchemaError, refused};
use crate::store::Store;
use crate::stores::{S3, Stores};

/// Validity of a signature.
const SIGNATURE_VALIDITY: Duration = Duration::from_mins(1);
/// A header that every S3 server adds to each response.
const REQUEST_ID: &str = "x-amz-request-id";
/// Error codes for a feature that the server does not support.
const UNSUPPORTED: [&str; 6] = [
    "NotImplemented",
    "MethodNotAllowed",
    "InvalidStorageClass",
    "KMSNotConfigured",
    "InvalidBucketState",
    "ObjectLockConfigurationNotFoundError",
];

/// An S3 server.
pub(super) struct Server {
    http: reqwest::Client,
    settings: S3,
    endpoint: Url,
}

/// Whether a server supports an aspect.
pub(super) enum Support {
    Supported,
    /// It does not, for this reason.
    Unsupported(String),
}

struct Response {
    status: StatusCode,
    body: String,
}

impl Response {
    /// The server's error code.
    fn code(&self) -> Option<String> {
        xml::texts(&self.body).into_iter().find(|(path, _)| path == "Code").map(|(_, code)| code)
    }

    fn success(self, doing: impl FnOnce() -> String) -> Result<String, SchemaError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let code = self.code().unwrap_or_else(|| "no error code".to_owned());
        Err(refused(Store::S3, doing())(format!("{}: {code}", self.status)))
    }
}

/// A request for a bucket, or for an object in it.
struct Request<'a> {
    method: Method,
    bucket: &'a str,
    object: &'a str,
    query: Vec<(&'a str, &'a str)>,
    headers: Vec<(&'a str, String)>,
    body: String,
}

impl<'a> Request<'a> {
    fn new(method: Method, bucket: &'a str) -> Self {
        Self { method, bucket, object: "", query: Vec::new(), headers: Vec::new(), body: String::new() }
    }
}

impl Server {
    pub(super) fn new(stores: &Stores) -> Result<Self, SchemaError> {
        let settings = stores.s3.clone();
        let endpoint = Url::parse(&settings.endpoint).map_err(|error| unreachable_at(&settings, &error))?;
        let http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(REQUEST_TIMEOUT).no_proxy();
        let http = http.redirect(redirect::Policy::none());
        let http = http.build().map_err(|error| unreachable_at(&settings, &error))?;
        Ok(Self { http, settings, endpoint })
    }

    /// The URL of an object or a bucket, or without either, of the server.
    fn url(&self, bucket: &str, object: &str) -> Result<Url, SchemaError> {
        if bucket.is_empty() {
            return Ok(self.endpoint.clone());
        }
        let named = Bucket::new(self.endpoint.clone(), UrlStyle::Path, bucket.to_owned(), self.settings.region.clone());
        let named = named.map_err(refused(Store::S3, format!("name bucket {bucket}")))?;
        Ok(if object.is_empty() { named.base_url().clone() } else { named.object_url(object) })
    }

    async fn send(&self, request: Request<'_>) -> Result<Response, SchemaError> {
        let url = self.url(request.bucket, request.object)?;
        let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let (key, secret) = (&self.settings.access_key, self.settings.secret_key.reveal());
        let query = request.query.iter().copied();
        let expires = SIGNATURE_VALIDITY.as_secs();
        let url = signing::sign(
            &Timestamp::now(),
            request.method,
            url,
            key,
            secret,
            None,
            &self.settings.region,
            expires,
            query,
            headers,
        );
        let method = reqwest::Method::from_bytes(request.method.to_str().as_bytes());
        let method = method.map_err(refused(Store::S3, "name a method"))?;
        let mut sending = self.http.request(method, url).body(request.body);
        for (name, value) in request.headers {
            sending = sending.header(name, value);
        }
        // The URL contains the signature, so it must not appear in a message.
        let unreachable = |error: reqwest::Error| unreachable_at(&self.settings, &error.without_url());
        let response = sending.send().await.map_err(unreachable)?;
        if !response.headers().contains_key(REQUEST_ID) {
            let cause = format!("{} without {REQUEST_ID}: the response is not an S3 server's", response.status());
            return Err(unreachable_at(&self.settings, &cause));
        }
        Ok(Response { status: response.status(), body: response.text().await.map_err(unreachable)? })
    }

    pub(super) async fn has_bucket(&self, bucket: &str) -> Result<bool, SchemaError> {
        let response = self.send(Request::new(Method::Head, bucket)).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        response.success(|| format!("look for bucket {bucket}")).map(|_| true)
    }

    /// Object lock can only be enabled at creation.
    pub(super) async fn create_bucket(&self, bucket: &str, lock: bool) -> Result<(), SchemaError> {
        let mut request = Request::new(Method::Put, bucket);
        if lock {
            request.headers.push(("x-amz-bucket-object-lock-enabled", "true".to_owned()));
        }
        self.send(request).await?.success(|| format!("create bucket {bucket}")).map(drop)
    }

    /// The aspect's body; empty if it is not set or not supported.
    pub(super) async fn get(&self, bucket: &str, aspect: &Aspect) -> Result<String, SchemaError> {
        let mut request = Request::new(Method::Get, bucket);
        request.query.push((aspect.subresource, ""));
        let response = self.send(request).await?;
        let unsupported = response.code().is_some_and(|code| UNSUPPORTED.contains(&code.as_str()));
        if response.status == StatusCode::NOT_FOUND || unsupported {
            return Ok(String::new());
        }
        response.success(|| format!("read the {} of bucket {bucket}", aspect.name))
    }

    /// Sets the aspect, unless the server does not support it.
    pub(super) async fn put(&self, bucket: &str, aspect: &Aspect, form: &str) -> Result<Support, SchemaError> {
        let mut request = Request::new(Method::Put, bucket);
        request.query.push((aspect.subresource, ""));
        request.headers.push(("x-amz-checksum-sha256", STANDARD.encode(Sha256::digest(form.as_bytes()))));
        request.body = form.to_owned();
        let response = self.send(request).await?;
        match response.code() {
            Some(code) if UNSUPPORTED.contains(&code.as_str()) => {
                Ok(Support::Unsupported(format!("the server returns {code}")))
            }
            _ => response.success(|| format!("set the {} of bucket {bucket}", aspect.name)).map(|_| Support::Supported),
        }
    }

    /// Names of all buckets that the login may list.
    pub(super) async fn list_buckets(&self) -> Result<Vec<String>, SchemaError> {
        let listed = self.send(Request::new(Method::Get, "")).await?.success(|| "list the buckets".to_owned())?;
        let texts = xml::texts(&listed).into_iter().filter(|(path, _)| path == "Buckets/Bucket/Name");
        Ok(texts.map(|(_, name)| name).collect())
    }

    /// Whether a bucket contains no version of any object.
    pub(super) async fn is_empty(&self, bucket: &str) -> Result<bool, SchemaError> {
        let mut request = Request::new(Method::Get, bucket);
        request.query.push(("versions", ""));
        let listed = self.send(request).await?.success(|| format!("list bucket {bucket}"))?;
        Ok(versions(&listed).is_empty())
    }

    pub(super) async fn delete_bucket(&self, bucket: &str) -> Result<(), SchemaError> {
        self.send(Request::new(Method::Delete, bucket)).await?.success(|| format!("delete bucket {bucket}")).map(drop)
    }

    /// Deletes every version of every object, locked ones included if the login may.
    pub(super) async fn empty_bucket(&self, bucket: &str) -> Result<(), SchemaError> {
        loop {
            let mut request = Request::new(Method::Get, bucket);
            request.query.push(("versions", ""));
            let listed = self.send(request).await?.success(|| format!("list bucket {bucket}"))?;
            let versions = versions(&listed);
            if versions.is_empty() {
                return Ok(());
            }
            for (object, version) in versions {
                let mut request = Request::new(Method::Delete, bucket);
                request.object = &object;
                request.query.push(("versionId", &version));
                request.headers.push(("x-amz-bypass-governance-retention", "true".to_owned()));
                self.send(request).await?.success(|| format!("delete an object of bucket {bucket}"))?;
            }
        }
    }
}

/// `(key, version)` of each version and delete marker in a listing.
fn versions(listed: &str) -> Vec<(String, String)> {
    let mut key = String::new();
    let mut versions = Vec::new();
    for (path, text) in xml::texts(listed) {
        match path.as_str() {
            "Version/Key" | "DeleteMarker/Key" => key = text,
            "Version/VersionId" | "DeleteMarker/VersionId" => versions.push((key.clone(), text)),
            _ => {}
        }
    }
    versions
}

fn unreachable_at(settings: &S3, error: &dyn std::fmt::Display) -> SchemaError {
    ConnectError::because("S3", "s3", settings.endpoint.clone(), error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_delete_markers_are_both_listed() {
        let listed = "<R><Version><Key>a</Key><VersionId>1</VersionId></Version>\
                      <DeleteMarker><Key>b</Key><VersionId>2</VersionId></DeleteMarker></R>";
        assert_eq!(versions(listed), [("a".into(), "1".into()), ("b".into(), "2".into())]);
    }

    #[test]
    fn the_error_code_is_read_from_the_body() {
        let body = "<Error><Code>NotImplemented</Code><Message>m</Message></Error>".to_owned();
        assert_eq!(Response { status: StatusCode::NOT_IMPLEMENTED, body }.code().as_deref(), Some("NotImplemented"));
    }
}
