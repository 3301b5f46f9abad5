//! A server in front of a store that speaks HTTP, which answers requests in the store's name as often as it is told to and
//! forwards everything else. It never changes a request that it forwards.

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

/// Longest request that is taken in.
const MOST: usize = 64 << 20;
/// Where ClickHouse says which of its errors it is.
const CODE: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");
/// Where ClickHouse repeats the id of the query.
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");
/// How long a proxy waits before it sends a request again.
const BEFORE_TWICE: Duration = Duration::from_secs(1);
/// Carries the password.
const KEY: &str = "x-clickhouse-key";

/// The requests that are not simply forwarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Requests {
    /// INSERTs with a deduplication token.
    #[default]
    Inserts,
    /// Those whose body contains this text, and that are no such INSERTs.
    About(&'static str),
}

/// What becomes of them.
#[derive(Debug, Clone, Default)]
pub enum Manner {
    /// Not forwarded: the store is said to have answered this.
    Refused {
        /// HTTP status.
        status: u16,
        /// ClickHouse's code, if there is one.
        code: Option<u32>,
    },
    /// Not forwarded: a page of somebody else, `200 OK`.
    #[default]
    Page,
    /// Not forwarded: `200 OK` and nothing else.
    Empty,
    /// Not forwarded: sent to this URL, `302 Found`.
    Redirect(String),
    /// Forwarded, and the answer is swallowed: the client waits for as long as it likes.
    Swallowed,
    /// Forwarded, and after a while forwarded again, as by a proxy that took the first time for a failure.
    Twice,
    /// Forwarded, and answered without this header.
    Without(HeaderName),
    /// Forwarded, and answered with another value of this header.
    Changed(HeaderName, &'static str),
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// Where clients of the store knock, as `http://host:port`.
    pub url: String,
    desk: Arc<Desk>,
    _open: DropGuard,
}

#[derive(Debug)]
struct Desk {
    store: String,
    http: reqwest::Client,
    order: Mutex<Order>,
    /// Longest path and query that is let through.
    line: AtomicUsize,
}

/// What to do, and how many more times.
#[derive(Debug, Default)]
struct Order {
    requests: Requests,
    manner: Manner,
    left: usize,
    done: usize,
}

impl StandIn {
    /// Stands in front of the store at `url`.
    ///
    /// # Panics
    /// Where this machine has no free port left.
    pub async fn before(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without settings");
        let line = AtomicUsize::new(usize::MAX);
        let desk = Arc::new(Desk { store: url.to_owned(), http, order: Mutex::default(), line });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&desk));
        let (url, open) = listen(app).await;
        Self { url, desk, _open: open }
    }

    /// Refuses the next INSERTs with this status and, if there is one, this code of ClickHouse's.
    pub fn refuse(&self, times: usize, status: u16, code: Option<u32>) {
        self.answer(Requests::Inserts, times, Manner::Refused { status, code });
    }

    /// Treats the next of these requests like that. What it was told before no longer counts.
    pub fn answer(&self, requests: Requests, times: usize, manner: Manner) {
        *self.desk.order() = Order { requests, manner, left: times, done: 0 };
    }

    /// How many requests were treated so since it was last told to.
    pub fn refused(&self) -> usize {
        self.desk.order().done
    }

    /// Refuses every request with a path and query longer than this, as a load balancer does.
    pub fn limit_request_line(&self, bytes: usize) {
        self.desk.line.store(bytes, Ordering::Relaxed);
    }
}

/// Another host, to which nobody should send anything; it ends when this is dropped.
#[derive(Debug)]
pub struct OtherHost {
    /// Its address, as `http://host:port`.
    pub url: String,
    seen: Arc<Seen>,
    _open: DropGuard,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicUsize,
    passwords: AtomicUsize,
}

impl OtherHost {
    /// Answers everything with an empty `200 OK`.
    ///
    /// # Panics
    /// Where this machine has no free port left.
    pub async fn start() -> Self {
        let seen = Arc::<Seen>::default();
        let (url, open) = listen(Router::new().fallback(see).with_state(Arc::clone(&seen))).await;
        Self { url, seen, _open: open }
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::Relaxed)
    }

    /// How many of them brought ClickHouse's password.
    pub fn passwords(&self) -> usize {
        self.seen.passwords.load(Ordering::Relaxed)
    }
}

async fn see(State(seen): State<Arc<Seen>>, headers: HeaderMap) -> StatusCode {
    seen.requests.fetch_add(1, Ordering::Relaxed);
    seen.passwords.fetch_add(usize::from(headers.contains_key(KEY)), Ordering::Relaxed);
    StatusCode::OK
}

async fn listen(app: Router) -> (String, DropGuard) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let open = CancellationToken::new();
    let closed = open.clone().cancelled_owned();
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(closed).await });
    (format!("http://{address}"), open.drop_guard())
}

impl Desk {
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this request is to be treated, if not like all others.
    fn take(&self, uri: &Uri, body: &[u8]) -> Option<Manner> {
        let mut order = self.order();
        let is_insert = uri.query().is_some_and(|query| query.contains("insert_deduplication_token="));
        let is_meant = match order.requests {
            Requests::Inserts => is_insert,
            Requests::About(text) => !is_insert && body.windows(text.len()).any(|part| part == text.as_bytes()),
        };
        if !is_meant {
            return None;
        }
        order.left = order.left.checked_sub(1)?;
        order.done += 1;
        Some(order.manner.clone())
    }
}

async fn serve(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST).await else { return StatusCode::BAD_REQUEST.into_response() };
    if head.uri.path_and_query().is_some_and(|line| line.as_str().len() > desk.line.load(Ordering::Relaxed)) {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    let manner = desk.take(&head.uri, &body);
    let forwarded =
        desk.http.request(head.method, format!("{}{}", desk.store, head.uri)).headers(head.headers).body(body);
    match manner {
        None => forward(forwarded).await.unwrap_or_else(IntoResponse::into_response),
        Some(Manner::Refused { status, code }) => refusal(&head.uri, status, code),
        Some(Manner::Page) => Html("<html><body>Sign in to this network</body></html>").into_response(),
        Some(Manner::Empty) => StatusCode::OK.into_response(),
        Some(Manner::Redirect(to)) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Some(Manner::Swallowed) => {
            drop(forward(forwarded).await);
            std::future::pending().await
        }
        Some(Manner::Twice) => {
            if let Some(first) = forwarded.try_clone() {
                drop(forward(first).await);
            }
            tokio::time::sleep(BEFORE_TWICE).await;
            forward(forwarded).await.unwrap_or_else(IntoResponse::into_response)
        }
        Some(Manner::Without(name)) => {
            let mut answer = forward(forwarded).await.unwrap_or_else(IntoResponse::into_response);
            answer.headers_mut().remove(name);
            answer
        }
        Some(Manner::Changed(name, value)) => {
            let mut answer = forward(forwarded).await.unwrap_or_else(IntoResponse::into_response);
            answer.headers_mut().insert(name, header::HeaderValue::from_static(value));
            answer
        }
    }
}

/// As ClickHouse refuses: with the id of the query.
fn refusal(uri: &Uri, status: u16, code: Option<u32>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Some(code) = code else { return (status, "refused").into_response() };
    let id = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("query_id="));
    let id = id.unwrap_or_default().replace("%3A", ":");
    (status, [(CODE, code.to_string()), (QUERY_ID, id)], "refused").into_response()
}

async fn forward(request: reqwest::RequestBuilder) -> Result<Response, StatusCode> {
    let answer = request.send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    let body: Bytes = answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok((status, headers, Body::from(body)).into_response())
}
