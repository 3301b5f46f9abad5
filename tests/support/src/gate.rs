//! A door in front of a store: open it forwards, slow it holds answers back, shut it refuses and breaks what is under
//! way. The store itself knows nothing of it.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Bytes that are forwarded at once.
const PIECE: usize = 64 * 1024;

/// The door.
#[derive(Debug)]
pub struct Gate {
    /// Where clients of the store knock, as `http://host:port`.
    pub url: String,
    address: SocketAddr,
    to: String,
    delay: Duration,
    shut: CancellationToken,
}

impl Gate {
    /// Forwards to the store at `url`.
    ///
    /// # Panics
    /// Where this machine has no free port left.
    pub async fn open(url: &str) -> Self {
        Self::slow(url, Duration::ZERO).await
    }

    /// Forwards to the store at `url`; each piece of an answer comes `delay` late.
    ///
    /// # Panics
    /// Where this machine has no free port left.
    pub async fn slow(url: &str, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let to = url.trim_start_matches("http://").to_owned();
        let gate = Self { url: format!("http://{address}"), address, to, delay, shut: CancellationToken::new() };
        gate.forward(listener);
        gate
    }

    fn forward(&self, listener: TcpListener) {
        let (to, delay, shut) = (self.to.clone(), self.delay, self.shut.clone());
        tokio::spawn(self.shut.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(store) = TcpStream::connect(&to).await else { continue };
                let ((from_client, to_client), (from_store, to_store)) = (client.into_split(), store.into_split());
                tokio::spawn(shut.clone().run_until_cancelled_owned(async move {
                    tokio::join!(pass(from_client, to_store, Duration::ZERO), pass(from_store, to_client, delay));
                }));
            }
        }));
    }

    /// Refuses everything, and breaks what is under way.
    pub fn shut(&mut self) {
        self.shut.cancel();
    }

    /// Forwards again, at the same address.
    ///
    /// # Panics
    /// Where somebody else has taken the address.
    pub async fn reopen(&mut self) {
        self.shut = CancellationToken::new();
        let listener = TcpListener::bind(self.address).await.expect("the address is still its own");
        self.forward(listener);
    }
}

/// Forwards until either side ends; ending the write half tells the other side.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        tokio::time::sleep(delay).await;
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
