//! Ctrl-C, SIGTERM and the end of the terminal as a cancellation: the first requests a graceful shutdown, the second exits at
//! once. It stops no other process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, screen};

/// A token that the first SIGINT, SIGTERM or SIGHUP cancels. The second exits the process with 130. A SIGHUP that whoever
/// started the process ignores, as `nohup` does, stays ignored.
pub(crate) fn cancellation() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut hang_up = (!ignores_hang_up(&status)).then(|| signal(SignalKind::hangup())).transpose()?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        for asked_before in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = received(hang_up.as_mut()) => {}
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

/// Waits for a signal; for ever without one.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether a process with that `/proc/PID/status` ignores SIGHUP: the mask has a bit for each signal, the lowest for the first
/// (proc(5)).
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (SignalKind::hangup().as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_under_nohup_ignores_hang_ups() {
        assert!(ignores_hang_up("Name:\tsluice\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hang_up("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hang_up(""));
    }
}
