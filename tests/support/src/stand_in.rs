//! A server in front of a store that speaks HTTP, which refuses INSERTs in the store's name as often as it is told to and
//! forwards everything else. The store itself never hears of what was refused.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest request that is taken in.
const MOST: usize = 64 << 20;
/// Where ClickHouse says which of its errors it is.
const CODE: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");

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
    refusal: Mutex<Refusal>,
}

/// What is refused, and how often still.
#[derive(Debug, Default)]
struct Refusal {
    left: usize,
    done: usize,
    status: u16,
    code: Option<u32>,
}

impl StandIn {
    /// Stands in front of the store at `url`.
    ///
    /// # Panics
    /// Where this machine has no free port left.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without settings");
        let desk = Arc::new(Desk { store: url.to_owned(), http, refusal: Mutex::default() });
        let app = Router::new().fallback(serve).with_state(Arc::clone(&desk));
        let open = CancellationToken::new();
        let closed = open.clone().cancelled_owned();
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(closed).await });
        Self { url: format!("http://{address}"), desk, _open: open.drop_guard() }
    }

    /// Refuses the next INSERTs with this status and, if there is one, this code of ClickHouse's.
    pub fn refuse(&self, times: usize, status: u16, code: Option<u32>) {
        *self.desk.refusal() = Refusal { left: times, done: 0, status, code };
    }

    /// How many INSERTs were refused since it was last told to.
    pub fn refused(&self) -> usize {
        self.desk.refusal().done
    }
}

impl Desk {
    fn refusal(&self) -> std::sync::MutexGuard<'_, Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to an INSERT that is not to be forwarded.
    fn refuse(&self) -> Option<Response> {
        let mut refusal = self.refusal();
        refusal.left = refusal.left.checked_sub(1)?;
        refusal.done += 1;
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = refusal.code.map(|code| [(CODE, code.to_string())]);
        Some(match code {
            Some(header) => (status, header, "refused").into_response(),
            None => (status, "refused").into_response(),
        })
    }
}

async fn serve(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST).await else { return StatusCode::BAD_REQUEST.into_response() };
    let is_insert = head.uri.query().is_some_and(|query| query.contains("insert_deduplication_token="));
    if let Some(refused) = is_insert.then(|| desk.refuse()).flatten() {
        return refused;
    }
    let forwarded = desk.http.request(head.method, format!("{}{}", desk.store, head.uri)).headers(head.headers);
    let Ok(answer) = forwarded.body(body).send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    match answer.bytes().await {
        Ok(body) => (status, headers, Body::from(body)).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
