//! Ctrl-C and SIGTERM as one cancellation: the first asks for an orderly end, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, screen};

/// A token that is cancelled by the first SIGINT or SIGTERM. A second one ends the process with 130.
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
                std::process::exit(Exit::Interrupted as i32);
            }
            screen::note("\nstopping in order; press Ctrl-C again to end at once");
            cancelled.cancel();
        }
    });
    Ok(token)
}
