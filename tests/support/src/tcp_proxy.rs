//! A TCP proxy in front of a store. It forwards, delays, withholds or resets traffic, and while it is closed, it refuses new
//! connections and breaks open ones. It never changes a byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluice_schemas::stores::Stores;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::free_address;

/// Maximum number of bytes forwarded at once.
const CHUNK: usize = 64 * 1024;
/// A chunk of a request that is longer than this, in bytes, contains part of the body.
const HEAD_BYTES: usize = 2 * 1024;

/// How the proxy treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// Each chunk of a response is delayed by this duration.
    Delayed(Duration),
    /// Requests are read and dropped; there is never a response.
    Silent,
    /// Half of a request with a body reaches the store, then the connection is reset on both sides.
    ResetInRequest,
    /// Requests reach the store; when it responds, the connection is reset on both sides and the response is lost.
    ResetInResponse,
}

/// The proxy.
#[derive(Debug)]
pub struct TcpProxy {
    /// Address for clients of the store, as `http://host:port`.
    pub url: String,
    address: SocketAddr,
    store: String,
    mode: watch::Sender<ProxyMode>,
    disrupted: Arc<AtomicUsize>,
    closed: CancellationToken,
}

impl TcpProxy {
    /// Forwards to the store at `url`.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn start(url: &str) -> Self {
        Self::with_delay(url, Duration::ZERO).await
    }

    /// Forwards to the store at `url`; each chunk of a response is delayed by `delay`.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn with_delay(url: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind(free_address()).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let store = url.trim_start_matches("http://").to_owned();
        let (url, mode) = (format!("http://{address}"), watch::Sender::new(ProxyMode::Delayed(delay)));
        let (disrupted, closed) = (Arc::default(), CancellationToken::new());
        let proxy = Self { url, address, store, mode, disrupted, closed };
        proxy.forward(listener);
        proxy
    }

    /// Forwards to PostgreSQL, and takes its place in `stores`.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn in_front_of_postgres(stores: &mut Stores) -> Self {
        let proxy = Self::start(&format!("{}:{}", stores.postgres.host, stores.postgres.port)).await;
        (stores.postgres.host, stores.postgres.port) = (proxy.address.ip().to_string(), proxy.address.port());
        proxy
    }

    fn forward(&self, listener: TcpListener) {
        let (address, closed) = (self.store.clone(), self.closed.clone());
        let (mode, disrupted) = (self.mode.subscribe(), Arc::clone(&self.disrupted));
        tokio::spawn(self.closed.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(store) = TcpStream::connect(&address).await else { continue };
                let serve = serve(client, store, mode.clone(), Arc::clone(&disrupted));
                tokio::spawn(closed.clone().run_until_cancelled_owned(serve));
            }
        }));
    }

    /// Changes the mode, also for open connections.
    pub fn set_mode(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }

    /// Number of connections that it has left without a response or reset.
    pub fn disrupted_connections(&self) -> usize {
        self.disrupted.load(Ordering::Relaxed)
    }

    /// Refuses new connections and breaks open ones.
    pub fn close(&mut self) {
        self.closed.cancel();
    }

    /// Forwards again, at the same address.
    ///
    /// # Panics
    /// If another process has taken the address.
    pub async fn reopen(&mut self) {
        self.closed = CancellationToken::new();
        let listener = TcpListener::bind(self.address).await.expect("the address is still free");
        self.forward(listener);
    }
}

/// How a connection ends.
#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn serve(
    mut client: TcpStream,
    mut store: TcpStream,
    mode: watch::Receiver<ProxyMode>,
    disrupted: Arc<AtomicUsize>,
) {
    let end = {
        let ((from_client, to_client), (from_store, to_store)) = (client.split(), store.split());
        tokio::select! {
            end = forward_requests(from_client, to_store, &mode, &disrupted) => end,
            end = forward_responses(from_store, to_client, &mode) => end,
        }
    };
    if end == End::Reset {
        disrupted.fetch_add(1, Ordering::Relaxed);
        // This fails only on a socket that the other side has reset.
        drop(client.set_zero_linger());
        drop(store.set_zero_linger());
    }
}

async fn forward_requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mode: &watch::Receiver<ProxyMode>,
    disrupted: &AtomicUsize,
) -> End {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let mode = *mode.borrow();
        match mode {
            ProxyMode::Silent => {
                disrupted.fetch_add(1, Ordering::Relaxed);
                while let Ok(1..) = from.read(&mut chunk).await {}
                return End::Closed;
            }
            ProxyMode::ResetInRequest if count > HEAD_BYTES => {
                // The connection is reset even if the store accepts less.
                drop(to.write_all(&chunk[..count / 2]).await);
                return End::Reset;
            }
            _ => {}
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
    }
    End::Closed
}

async fn forward_responses(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mode: &watch::Receiver<ProxyMode>) -> End {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let mode = *mode.borrow();
        match mode {
            ProxyMode::Delayed(delay) => tokio::time::sleep(delay).await,
            ProxyMode::ResetInResponse => return End::Reset,
            ProxyMode::Silent | ProxyMode::ResetInRequest => {}
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
    }
    End::Closed
}
