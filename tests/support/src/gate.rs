//! A TCP proxy in front of a store. Open, it forwards; shut, it refuses connections and breaks open ones; in between, it
//! delays, withholds or resets traffic. It never changes a byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

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

/// Most bytes forwarded at once.
const CHUNK: usize = 64 * 1024;
/// A chunk of a request longer than this contains part of its body.
const HEAD_BYTES: usize = 2 * 1024;

/// How the proxy treats connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each chunk of a response is delayed by this.
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
pub struct Gate {
    /// Address for clients of the store, as `http://host:port`.
    pub url: String,
    address: SocketAddr,
    store: String,
    mode: watch::Sender<Mode>,
    disrupted: Arc<AtomicUsize>,
    shut: CancellationToken,
}

impl Gate {
    /// Forwards to the store at `url`.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn open(url: &str) -> Self {
        Self::slow(url, Duration::ZERO).await
    }

    /// Forwards to the store at `url`; each chunk of a response is delayed by `delay`.
    ///
    /// # Panics
    /// If this machine has no free port.
    pub async fn slow(url: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind(free_address()).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let store = url.trim_start_matches("http://").to_owned();
        let (url, mode) = (format!("http://{address}"), watch::Sender::new(Mode::Delayed(delay)));
        let (disrupted, shut) = (Arc::default(), CancellationToken::new());
        let gate = Self { url, address, store, mode, disrupted, shut };
        gate.forward(listener);
        gate
    }

    fn forward(&self, listener: TcpListener) {
        let (address, shut) = (self.store.clone(), self.shut.clone());
        let (mode, disrupted) = (self.mode.subscribe(), Arc::clone(&self.disrupted));
        tokio::spawn(self.shut.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(store) = TcpStream::connect(&address).await else { continue };
                let serve = serve(client, store, mode.clone(), Arc::clone(&disrupted));
                tokio::spawn(shut.clone().run_until_cancelled_owned(serve));
            }
        }));
    }

    /// Changes the mode, also for open connections.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections it has left without a response or reset.
    pub fn disrupted(&self) -> usize {
        self.disrupted.load(Ordering::Relaxed)
    }

    /// Refuses new connections and breaks open ones.
    pub fn shut(&mut self) {
        self.shut.cancel();
    }

    /// Forwards again at the same address.
    ///
    /// # Panics
    /// If another process has taken the address.
    pub async fn reopen(&mut self) {
        self.shut = CancellationToken::new();
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

async fn serve(mut client: TcpStream, mut store: TcpStream, mode: watch::Receiver<Mode>, disrupted: Arc<AtomicUsize>) {
    let end = {
        let ((from_client, to_client), (from_store, to_store)) = (client.split(), store.split());
        tokio::select! {
            end = requests(from_client, to_store, &mode, &disrupted) => end,
            end = responses(from_store, to_client, &mode) => end,
        }
    };
    if end == End::Reset {
        disrupted.fetch_add(1, Ordering::Relaxed);
        // This fails only on a socket that the other side has reset.
        drop(client.set_zero_linger());
        drop(store.set_zero_linger());
    }
}

async fn requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mode: &watch::Receiver<Mode>,
    disrupted: &AtomicUsize,
) -> End {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let mode = *mode.borrow();
        match mode {
            Mode::Silent => {
                disrupted.fetch_add(1, Ordering::Relaxed);
                while let Ok(1..) = from.read(&mut chunk).await {}
                return End::Closed;
            }
            Mode::ResetInRequest if count > HEAD_BYTES => {
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

async fn responses(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mode: &watch::Receiver<Mode>) -> End {
    let mut chunk = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let mode = *mode.borrow();
        match mode {
            Mode::Delayed(delay) => tokio::time::sleep(delay).await,
            Mode::ResetInResponse => return End::Reset,
            Mode::Silent | Mode::ResetInRequest => {}
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            break;
        }
    }
    End::Closed
}
