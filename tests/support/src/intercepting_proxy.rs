//! An HTTP proxy in front of a store: it intercepts selected requests and forwards all others unchanged. It simulates a login
//! page, a wrong upstream, a lost response or a repeated request.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Maximum size of a request body, in bytes.
const MAX_BODY: usize = 64 << 20;
const PAGE: &str = "<html><body>Please sign in</body></html>";
/// Header in which ClickHouse sends its error code.
const CODE: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");
/// Header in which ClickHouse repeats the query ID.
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");
/// Header with ClickHouse's password.
const KEY: &str = "x-clickhouse-key";
/// Delay before [`Interception::Repeat`] repeats a request.
const REPEAT_DELAY: Duration = Duration::from_secs(1);

/// Selects the requests that are intercepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requests {
    /// INSERTs with a deduplication token.
    Inserts,
    /// Requests whose address or body contains this text; an empty text matches all.
    Containing(String),
}

/// What happens to an intercepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interception {
    /// Not forwarded: `200 OK` and a page.
    Page,
    /// Not forwarded: `200 OK` with an empty body.
    Empty,
    /// Not forwarded: a redirect with this status to this URL.
    Redirect(u16, String),
    /// Not forwarded: refused as ClickHouse would.
    Refuse {
        /// HTTP status.
        status: u16,
        /// ClickHouse's error code, if there is one.
        code: Option<u32>,
    },
    /// Not forwarded: refused as by an Elasticsearch that has no room in memory.
    NoRoom,
    /// Forwarded; the response is withheld and the client waits.
    WithholdResponse,
    /// Forwarded twice, with a second in between, as by a proxy that considers the first attempt failed.
    Repeat,
    /// Forwarded; the response lacks this header.
    RemoveHeader(HeaderName),
    /// Forwarded; the response has this header changed to this value.
    ReplaceHeader(HeaderName, &'static str),
    /// Forwarded; the text of the response has the first of these replaced by the second.
    ReplaceText(&'static str, &'static str),
}

/// The proxy; it stops when this is dropped.
#[derive(Debug)]
pub struct InterceptingProxy {
    /// Address for clients of the store, as `http://host:port`.
    pub url: String,
    shared: Arc<Shared>,
    _open: DropGuard,
}

#[derive(Debug)]
struct Shared {
    store: String,
    http: reqwest::Client,
    rule: Mutex<Rule>,
    /// Maximum length of a path and query that is forwarded, in bytes.
    max_line: AtomicUsize,
    /// `None` if requests are not recorded.
    record: Mutex<Option<Vec<Recorded>>>,
}

/// A request as it reached the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The path and query.
    pub address: String,
    /// The body as text.
    pub body: String,
}

/// Which requests to intercept, how, and how many more times.
#[derive(Debug)]
struct Rule {
    requests: Requests,
    interception: Interception,
    remaining: usize,
    intercepted: usize,
}

impl Rule {
    fn new(requests: Requests, times: usize, interception: Interception) -> Self {
        Self { requests, interception, remaining: times, intercepted: 0 }
    }
}

impl InterceptingProxy {
    /// Starts in front of the store at `url` and forwards everything.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn in_front_of(url: &str) -> Self {
        let shared = Arc::new(Shared {
            store: url.trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client without settings"),
            rule: Mutex::new(Rule::new(Requests::Inserts, 0, Interception::Page)),
            max_line: AtomicUsize::new(usize::MAX),
            record: Mutex::default(),
        });
        let (url, open) = serve(Router::new().fallback(handle).with_state(Arc::clone(&shared))).await;
        Self { url, shared, _open: open }
    }

    /// Intercepts every request whose address or body contains `text`; an empty text matches all.
    pub fn intercept(&self, interception: Interception, text: &str) {
        self.intercept_next(usize::MAX, Requests::Containing(text.to_owned()), interception);
    }

    /// Intercepts the next `times` of these requests. Replaces the previous rule.
    pub fn intercept_next(&self, times: usize, requests: Requests, interception: Interception) {
        *self.shared.rule() = Rule::new(requests, times, interception);
    }

    /// Refuses the next `times` INSERTs with this status and, if there is one, this ClickHouse error code.
    pub fn refuse(&self, times: usize, status: u16, code: Option<u32>) {
        self.intercept_next(times, Requests::Inserts, Interception::Refuse { status, code });
    }

    /// Forwards every request from now on.
    pub fn forward_all(&self) {
        self.shared.rule().remaining = 0;
    }

    /// Number of requests that the latest rule has intercepted.
    pub fn intercepted(&self) -> usize {
        self.shared.rule().intercepted
    }

    /// The requests since the last call; the first call starts the record.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.shared.record().replace(Vec::new()).unwrap_or_default()
    }

    /// Refuses every request with a path and query longer than this, as a load balancer does.
    pub fn limit_request_line(&self, bytes: usize) {
        self.shared.max_line.store(bytes, Ordering::Relaxed);
    }
}

/// Another host, which should receive no requests; it stops when this is dropped.
#[derive(Debug)]
pub struct OtherHost {
    /// Address, as `http://host:port`.
    pub url: String,
    received: Arc<Received>,
    _open: DropGuard,
}

#[derive(Debug, Default)]
struct Received {
    requests: AtomicUsize,
    passwords: AtomicUsize,
}

impl OtherHost {
    /// Starts a server that responds to every request with `200 OK` and a page.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn start() -> Self {
        let received = Arc::<Received>::default();
        let (url, open) = serve(Router::new().fallback(receive).with_state(Arc::clone(&received))).await;
        Self { url, received, _open: open }
    }

    /// Number of requests received.
    pub fn requests(&self) -> usize {
        self.received.requests.load(Ordering::Relaxed)
    }

    /// Number of received requests that contained ClickHouse's password.
    pub fn passwords(&self) -> usize {
        self.received.passwords.load(Ordering::Relaxed)
    }
}

async fn receive(State(received): State<Arc<Received>>, headers: HeaderMap) -> Html<&'static str> {
    received.requests.fetch_add(1, Ordering::Relaxed);
    received.passwords.fetch_add(usize::from(headers.contains_key(KEY)), Ordering::Relaxed);
    Html(PAGE)
}

async fn serve(app: Router) -> (String, DropGuard) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let open = CancellationToken::new();
    let closed = open.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(closed).await });
    (format!("http://{address}"), open.drop_guard())
}

impl Shared {
    fn rule(&self) -> MutexGuard<'_, Rule> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> MutexGuard<'_, Option<Vec<Recorded>>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interception of this request; `None` if it is forwarded.
    fn interception(&self, uri: &Uri, body: &[u8]) -> Option<Interception> {
        let mut rule = self.rule();
        let is_selected = match &rule.requests {
            Requests::Inserts => uri.query().is_some_and(|query| query.contains("insert_deduplication_token=")),
            Requests::Containing(text) => contains(uri, body, text),
        };
        if !is_selected {
            return None;
        }
        rule.remaining = rule.remaining.checked_sub(1)?;
        rule.intercepted += 1;
        Some(rule.interception.clone())
    }
}

fn contains(uri: &Uri, body: &[u8], text: &str) -> bool {
    let address = uri.to_string().replace('+', " ").replace("%20", " ");
    address.contains(text) || body.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else { return StatusCode::BAD_REQUEST.into_response() };
    if let Some(record) = shared.record().as_mut() {
        record.push(Recorded { address: head.uri.to_string(), body: String::from_utf8_lossy(&body).into_owned() });
    }
    if head.uri.path_and_query().is_some_and(|line| line.as_str().len() > shared.max_line.load(Ordering::Relaxed)) {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    let interception = shared.interception(&head.uri, &body);
    // The signature of an S3 request covers the host, so that header stays as the client sent it.
    let request = shared.http.request(head.method, format!("{}{}", shared.store, head.uri));
    let request = request.headers(head.headers).body(body);
    match interception {
        None => forward(request).await,
        Some(Interception::Page) => Html(PAGE).into_response(),
        Some(Interception::Empty) => StatusCode::OK.into_response(),
        Some(Interception::Redirect(code, to)) => (status(code), [(header::LOCATION, to)]).into_response(),
        Some(Interception::Refuse { status, code }) => refusal(&head.uri, status, code),
        Some(Interception::NoRoom) => no_room(),
        Some(Interception::WithholdResponse) => {
            drop(forward(request).await);
            std::future::pending().await
        }
        Some(Interception::Repeat) => {
            if let Some(first) = request.try_clone() {
                drop(forward(first).await);
            }
            tokio::time::sleep(REPEAT_DELAY).await;
            forward(request).await
        }
        Some(Interception::RemoveHeader(name)) => {
            let mut response = forward(request).await;
            response.headers_mut().remove(name);
            response
        }
        Some(Interception::ReplaceHeader(name, value)) => {
            let mut response = forward(request).await;
            response.headers_mut().insert(name, header::HeaderValue::from_static(value));
            response
        }
        Some(Interception::ReplaceText(old, new)) => {
            let (head, body) = forward(request).await.into_parts();
            let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&body).replace(old, new);
            Response::from_parts(head, Body::from(text))
        }
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Refuses a request as ClickHouse does, with the query ID.
fn refusal(uri: &Uri, code: u16, clickhouse_code: Option<u32>) -> Response {
    let Some(clickhouse_code) = clickhouse_code else { return (status(code), "refused").into_response() };
    let id = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("query_id="));
    let id = id.unwrap_or_default().replace("%3A", ":");
    (status(code), [(CODE, clickhouse_code.to_string()), (QUERY_ID, id)], "refused").into_response()
}

/// Refuses a request as Elasticsearch's parent circuit breaker does.
fn no_room() -> Response {
    let body = r#"{"error":{"type":"circuit_breaking_exception","reason":"[parent] Data too large"},"status":429}"#;
    let headers = [("x-elastic-product", "Elasticsearch"), ("content-type", "application/json")];
    (StatusCode::TOO_MANY_REQUESTS, headers, body).into_response()
}

/// The store's response, or `502 Bad Gateway`.
async fn forward(request: reqwest::RequestBuilder) -> Response {
    let Ok(response) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (response.status(), response.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    let body: Result<Bytes, _> = response.bytes().await;
    body.map_or_else(
        |_| StatusCode::BAD_GATEWAY.into_response(),
        |body| (status, headers, Body::from(body)).into_response(),
    )
}
