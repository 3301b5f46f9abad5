//! A TCP proxy that makes a store slow: every answer is held back for a while. The store itself knows nothing of it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections to `port` on this machine; each piece of an answer comes `delay` late. Returns its own port.
pub(crate) async fn slow(port: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let store = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let ((from_client, to_client), (from_store, to_store)) = (client.into_split(), store.into_split());
                tokio::join!(pass(from_client, to_store, Duration::ZERO), pass(from_store, to_client, delay));
            });
        }
    });
    own
}

async fn pass(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, delay: Duration) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        tokio::time::sleep(delay).await;
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
