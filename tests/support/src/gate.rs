//! A door in front of a store: open it forwards, shut it refuses and breaks what is under way, and in between it treats
//! those who pass as badly as it is told to. The store itself knows nothing of it.

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

/// Bytes that are forwarded at once.
const PIECE: usize = 64 * 1024;
/// A piece of a request that is longer than this holds some of its body.
const HEAD: usize = 2 * 1024;

/// How a door treats those who pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Each piece of an answer comes so late.
    Late(Duration),
    /// Requests are taken and go nowhere; nothing is ever answered.
    Silent,
    /// A request with a body reaches the store by half, then the connection is reset on both sides.
    Torn,
    /// Requests reach the store; when it answers, the connection is reset on both sides and nobody hears the answer.
    Unheard,
}

/// The door.
#[derive(Debug)]
pub struct Gate {
    /// Where clients of the store knock, as `http://host:port`.
    pub url: String,
    address: SocketAddr,
    to: String,
    manner: watch::Sender<Manner>,
    harmed: Arc<AtomicUsize>,
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
        let listener = TcpListener::bind(free_address()).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let to = url.trim_start_matches("http://").to_owned();
        let (url, manner) = (format!("http://{address}"), watch::Sender::new(Manner::Late(delay)));
        let (harmed, shut) = (Arc::default(), CancellationToken::new());
        let gate = Self { url, address, to, manner, harmed, shut };
        gate.forward(listener);
        gate
    }

    fn forward(&self, listener: TcpListener) {
        let (to, shut) = (self.to.clone(), self.shut.clone());
        let (manner, harmed) = (self.manner.subscribe(), Arc::clone(&self.harmed));
        tokio::spawn(self.shut.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(store) = TcpStream::connect(&to).await else { continue };
                let serve = serve(client, store, manner.clone(), Arc::clone(&harmed));
                tokio::spawn(shut.clone().run_until_cancelled_owned(serve));
            }
        }));
    }

    /// Treats everybody so from now on, those on their way as well.
    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many connections it has kept silent or reset.
    pub fn harmed(&self) -> usize {
        self.harmed.load(Ordering::Relaxed)
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

/// How a connection ends.
#[derive(PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn serve(mut client: TcpStream, mut store: TcpStream, manner: watch::Receiver<Manner>, harmed: Arc<AtomicUsize>) {
    let end = {
        let ((from_client, to_client), (from_store, to_store)) = (client.split(), store.split());
        tokio::select! {
            end = requests(from_client, to_store, &manner, &harmed) => end,
            end = answers(from_store, to_client, &manner) => end,
        }
    };
    if end == End::Reset {
        harmed.fetch_add(1, Ordering::Relaxed);
        // A socket that can no longer be reset was reset by the other side.
        drop(client.set_zero_linger());
        drop(store.set_zero_linger());
    }
}

async fn requests(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    manner: &watch::Receiver<Manner>,
    harmed: &AtomicUsize,
) -> End {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let manner = *manner.borrow();
        match manner {
            Manner::Silent => {
                harmed.fetch_add(1, Ordering::Relaxed);
                while let Ok(1..) = from.read(&mut piece).await {}
                return End::Closed;
            }
            Manner::Torn if count > HEAD => {
                // It is torn all the same where the store takes less.
                drop(to.write_all(&piece[..count / 2]).await);
                return End::Reset;
            }
            _ => {}
        }
        if to.write_all(&piece[..count]).await.is_err() {
            break;
        }
    }
    End::Closed
}

async fn answers(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, manner: &watch::Receiver<Manner>) -> End {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        let manner = *manner.borrow();
        match manner {
            Manner::Late(delay) => tokio::time::sleep(delay).await,
            Manner::Unheard => return End::Reset,
            Manner::Silent | Manner::Torn => {}
        }
        if to.write_all(&piece[..count]).await.is_err() {
            break;
        }
    }
    End::Closed
}
