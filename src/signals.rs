//! Ctrl-C and SIGTERM as a cancellation: the first requests a graceful shutdown, the second exits at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, screen};

/// A token that the first SIGINT or SIGTERM cancels. The second exits the process with 130.
pub(crate) fn cancellation() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        for asked_before in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked_before {
                screen::uncover();
                std::process::exit(Exit::Interrupted as i32);
            }
            screen::note("\nshutting down; press Ctrl-C again to exit at once");
            cancelled.cancel();
        }
    });
    Ok(token)
}
