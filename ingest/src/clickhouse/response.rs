//! Accepts an HTTP response only if ClickHouse itself sent it for this request.
//! It never trusts the status line: a proxy, a login page or another service also returns 200. It never keeps the text
//! of an exception.

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use reqwest::{Response, StatusCode, Version};
use serde::Deserialize;

use crate::clickhouse::codes;
use crate::clickhouse::failures;
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};

const QUERY_ID: &str = "X-ClickHouse-Query-Id";
const SUMMARY: &str = "X-ClickHouse-Summary";
const CODE: &str = "X-ClickHouse-Exception-Code";
/// Precedes the text of an exception that was raised after the headers were sent.
const TAG: &str = "X-ClickHouse-Exception-Tag";
/// Names the server that responded, since several may be behind one address.
const SERVER: &str = "X-ClickHouse-Server-Display-Name";
/// Maximum bytes read from the text of an exception.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The kind of a request, which decides what its response must contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A statement or a query: the response must contain the query ID.
    Query,
    /// An INSERT: the response must contain the query ID, the summary of the written rows, and an empty body.
    Insert,
}

/// ClickHouse's own response to one request.
#[derive(Debug)]
pub(super) struct VerifiedResponse {
    /// The complete body.
    pub(super) body: Bytes,
    /// The name of the server that sent it; empty if it has none.
    pub(super) server: String,
}

/// The summary of an INSERT. Only its presence counts: its figures are the same for an INSERT that was dropped as a
/// repetition.
#[derive(Deserialize)]
struct Summary {
    #[serde(rename = "written_rows")]
    _written_rows: String,
}

/// Accepts a response if it proves to be ClickHouse's.
pub(super) async fn accept(response: Response, id: &str, kind: Kind) -> Result<VerifiedResponse, Failure> {
    let status = response.status();
    if is_injected(Fault::AcceptAnyResponse) && status.is_success() {
        return Ok(VerifiedResponse { body: read(response).await?, server: String::new() });
    }
    if let Some(code) = text(response.headers(), CODE).map(|code| code.parse().ok()) {
        return Err(exception(response, id, code).await);
    }
    if status.is_client_error() || status.is_server_error() {
        return Err(codes::failure(status.as_u16(), None));
    }
    if let Some(missing_proof) = missing_proof(status, response.version(), response.headers(), id, kind) {
        return Err(failures::not_a_response(&missing_proof));
    }
    let server = text(response.headers(), SERVER).unwrap_or_default().to_owned();
    let tag = text(response.headers(), TAG).map(str::to_owned);
    let body = read(response).await?;
    if tag.is_some_and(|tag| !tag.is_empty() && contains(&body, tag.as_bytes())) {
        return Err(failures::not_a_response("an exception in its middle"));
    }
    if kind == Kind::Insert && !body.is_empty() {
        return Err(failures::not_a_response("HTTP 200 with a body, although an INSERT returns none"));
    }
    Ok(VerifiedResponse { body, server })
}

/// The proof that a response without an exception code lacks, if any.
fn missing_proof(status: StatusCode, version: Version, headers: &HeaderMap, id: &str, kind: Kind) -> Option<String> {
    let status = status.as_u16();
    if status != 200 {
        return Some(format!("HTTP {status}"));
    }
    match text(headers, QUERY_ID) {
        None => return Some(format!("HTTP 200 without the header {QUERY_ID}")),
        Some(other) if other != id => return Some(format!("HTTP 200 with the {QUERY_ID} of another query")),
        Some(_) => {}
    }
    let has_summary = || text(headers, SUMMARY).is_some_and(|text| serde_json::from_str::<Summary>(text).is_ok());
    if kind == Kind::Insert && !has_summary() {
        return Some(format!("HTTP 200 without the header {SUMMARY}, or with an unreadable one"));
    }
    // Without either header, a truncated body cannot be distinguished from a complete one.
    let has_end = version > Version::HTTP_11 || headers.contains_key(CONTENT_LENGTH) || is_chunked(headers);
    (!has_end).then(|| format!("HTTP 200 without {CONTENT_LENGTH} and {TRANSFER_ENCODING}"))
}

fn is_chunked(headers: &HeaderMap) -> bool {
    text(headers, TRANSFER_ENCODING.as_str()).is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
}

/// Reads an exception from ClickHouse. Its text may quote a row, so only the details that [`codes::with_text`] extracts
/// are kept. ClickHouse sends no query ID until it has authenticated the user and read the settings; a row counts as at
/// fault only with a query ID.
async fn exception(mut response: Response, id: &str, code: Option<u32>) -> Failure {
    let has_query_id = text(response.headers(), QUERY_ID) == Some(id);
    let failure = codes::failure(response.status().as_u16(), code);
    if failure.may_be_row_fault() && !has_query_id {
        return failures::not_a_response(&format!("an exception code without the {QUERY_ID} of this query"));
    }
    // Reading the remaining body allows the connection to be reused.
    let mut message = BytesMut::new();
    while message.len() < MAX_TEXT_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        message.extend_from_slice(&chunk);
    }
    codes::with_text(failure, &String::from_utf8_lossy(&message))
}

async fn read(response: Response) -> Result<Bytes, Failure> {
    response.bytes().await.map_err(|error| failures::unanswered(&error))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn contains(body: &[u8], tag: &[u8]) -> bool {
    body.windows(tag.len()).any(|window| window == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY_TEXT: &str = r#"{"read_rows":"2","written_rows":"2"}"#;

    async fn accepted(status: u16, headers: &[(&str, &str)], kind: Kind, body: &'static str) -> Result<Bytes, String> {
        let mut response = axum::http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(body).unwrap();
        let response = accept(Response::from(response), "id-1", kind).await;
        response.map(|response| response.body).map_err(|failure| format!("{} {}", failure.class.as_str(), failure.what))
    }

    #[tokio::test]
    async fn a_response_without_the_query_id_is_rejected() {
        let (id, length) = (("X-ClickHouse-Query-Id", "id-1"), ("Content-Length", "2"));
        let query = |status, headers: Vec<(&'static str, &'static str)>, body| async move {
            accepted(status, &headers, Kind::Query, body).await.unwrap_err()
        };
        assert_eq!(accepted(200, &[id, length], Kind::Query, "42").await.unwrap(), "42");
        insta::assert_snapshot!(query(200, vec![length], "42").await, @"transient not a ClickHouse response (HTTP 200 without the header X-ClickHouse-Query-Id); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
        insta::assert_snapshot!(query(204, vec![id, length], "").await, @"transient not a ClickHouse response (HTTP 204); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
        insta::assert_snapshot!(query(302, vec![id, length], "").await, @"transient not a ClickHouse response (HTTP 302); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
        insta::assert_snapshot!(query(200, vec![("X-ClickHouse-Query-Id", "id-2"), length], "42").await, @"transient not a ClickHouse response (HTTP 200 with the X-ClickHouse-Query-Id of another query); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
        insta::assert_snapshot!(query(200, vec![id], "42").await, @"transient not a ClickHouse response (HTTP 200 without content-length and transfer-encoding); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
        let tag = ("X-ClickHouse-Exception-Tag", "abcdefgh");
        insta::assert_snapshot!(query(200, vec![id, length, tag], "42 abcdefgh").await, @"transient not a ClickHouse response (an exception in its middle); check what stands between the worker and ClickHouse: it must pass on ClickHouse's responses with all headers");
    }

    #[tokio::test]
    async fn an_insert_is_acknowledged_by_its_summary() {
        let (id, length) = (("X-ClickHouse-Query-Id", "id-1"), ("Content-Length", "0"));
        let summary = ("X-ClickHouse-Summary", SUMMARY_TEXT);
        accepted(200, &[id, length, summary], Kind::Insert, "").await.unwrap();
        for wrong in ["", "{}", "<html>"] {
            let response = accepted(200, &[id, length, ("X-ClickHouse-Summary", wrong)], Kind::Insert, "").await;
            assert!(response.unwrap_err().contains("without the header X-ClickHouse-Summary"), "{wrong}");
        }
        let html = accepted(200, &[id, length, summary], Kind::Insert, "<html>").await.unwrap_err();
        assert!(html.starts_with("transient not a ClickHouse response"), "{html}");
    }

    #[tokio::test]
    async fn a_row_is_blamed_only_by_clickhouse_itself() {
        let (id, row) = (("X-ClickHouse-Query-Id", "id-1"), ("X-ClickHouse-Exception-Code", "469"));
        assert!(accepted(500, &[id, row], Kind::Insert, "").await.unwrap_err().starts_with("row "));
        assert!(
            accepted(500, &[row], Kind::Insert, "")
                .await
                .unwrap_err()
                .starts_with("transient not a ClickHouse response")
        );
        let password = ("X-ClickHouse-Exception-Code", "516");
        assert!(accepted(403, &[password], Kind::Insert, "").await.unwrap_err().starts_with("operator "));
    }
}
