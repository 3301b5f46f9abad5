//! Something else at a store's address, as a proxy's login page or a wrong upstream would be: what it is told to takes the
//! store's place for requests that hold a text, and everything else is forwarded. The store never hears of those requests.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header, request::Parts},
    response::{Html, IntoResponse, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest request that is taken in.
const MOST: usize = 64 << 20;
const PAGE: &str = "<html><body>Please sign in</body></html>";

/// What is answered in the store's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disguise {
    /// `200 OK` and a page.
    Page,
    /// `307` to another address, which answers everything with a page and counts who comes.
    Elsewhere,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Impostor {
    /// Where clients of the store knock, as `http://host:port`.
    pub url: String,
    desk: Arc<Desk>,
    _open: DropGuard,
}

#[derive(Debug)]
struct Desk {
    store: String,
    elsewhere: String,
    http: reqwest::Client,
    told: Mutex<Option<(Disguise, String)>>,
    answered: AtomicUsize,
    arrived_elsewhere: AtomicUsize,
}

impl Impostor {
    /// Stands in front of the store at `url`.
    ///
    /// # Panics
    /// Where this machine has no free port left.
    pub async fn before(url: &str) -> Self {
        let [here, elsewhere] = [listen().await, listen().await];
        let address = |listener: &TcpListener| {
            format!("http://{}", listener.local_addr().expect("a bound socket has an address"))
        };
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without settings");
        let desk = Arc::new(Desk {
            store: url.trim_end_matches('/').to_owned(),
            elsewhere: address(&elsewhere),
            http,
            told: Mutex::default(),
            answered: AtomicUsize::new(0),
            arrived_elsewhere: AtomicUsize::new(0),
        });
        let open = CancellationToken::new();
        let url = address(&here);
        for (listener, app) in [
            (here, Router::new().fallback(serve).with_state(Arc::clone(&desk))),
            (elsewhere, Router::new().fallback(count).with_state(Arc::clone(&desk))),
        ] {
            let closed = open.clone().cancelled_owned();
            tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(closed).await });
        }
        Self { url, desk, _open: open.drop_guard() }
    }

    /// Answers requests whose address or body holds `text` in the store's place from now on; an empty text is in all.
    pub fn answer(&self, disguise: Disguise, text: &str) {
        *self.desk.told() = Some((disguise, text.to_owned()));
    }

    /// How many requests it has answered itself.
    pub fn answered(&self) -> usize {
        self.desk.answered.load(Ordering::Relaxed)
    }

    /// How many requests have come to the other address.
    pub fn arrived_elsewhere(&self) -> usize {
        self.desk.arrived_elsewhere.load(Ordering::Relaxed)
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port")
}

impl Desk {
    fn told(&self) -> std::sync::MutexGuard<'_, Option<(Disguise, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, head: &Parts, body: &Bytes) -> Option<Response> {
        let (disguise, text) = self.told().clone()?;
        let asked = format!(
            "{} {}",
            head.uri.to_string().replace(['+'], " ").replace("%20", " "),
            String::from_utf8_lossy(body)
        );
        if !asked.contains(&text) {
            return None;
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Some(match disguise {
            Disguise::Page => Html(PAGE).into_response(),
            Disguise::Elsewhere => {
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, self.elsewhere.clone())]).into_response()
            }
        })
    }
}

async fn count(State(desk): State<Arc<Desk>>) -> Html<&'static str> {
    desk.arrived_elsewhere.fetch_add(1, Ordering::Relaxed);
    Html(PAGE)
}

async fn serve(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST).await else { return StatusCode::BAD_REQUEST.into_response() };
    if let Some(answer) = desk.answer(&head, &body) {
        return answer;
    }
    // The signature of an S3 request covers the host, so that stays as the client wrote it.
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
