//! The drive's clock: intended starts go in, the calling thread comes out of its wait on time.
//! tokio's timer counts in milliseconds; a thread that sleeps to just before the instant and spins the rest is some
//! 50 times nearer. Never waits past a stop by more than a moment.

use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

/// The last part of a wait is spun away, since a sleep ends late by about this much.
const SPIN: Duration = Duration::from_micros(100);
/// Shortest sleep of a wait that may end late.
const TICK: Duration = Duration::from_millis(2);
/// Longest sleep before the stop is looked at again.
const SLICE: Duration = Duration::from_millis(20);

/// Counts from the start of a drive.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    start: Instant,
    system_start: SystemTime,
    stop: CancellationToken,
}

impl Clock {
    /// Starts now.
    pub(super) fn start(stop: &CancellationToken) -> Self {
        Self { start: Instant::now(), system_start: SystemTime::now(), stop: stop.clone() }
    }

    /// Time since the start, by the monotonic clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Time since the start, by the system clock; zero if that was set back to before it.
    pub(super) fn system_elapsed(&self) -> Duration {
        self.system_start.elapsed().unwrap_or_default()
    }

    /// The instant that lies `at` after the start.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// Blocks until `at` or up to two milliseconds later; `false` if the drive is stopped before. For what comes
    /// thousands of times a second and waits for company behind this clock anyway: it never spins, which would take a
    /// tenth of a processor from the stores that are being measured.
    pub(super) fn sleep_until(&self, at: Duration) -> bool {
        self.wait_with(at, |left| std::thread::park_timeout(left.clamp(TICK, SLICE)))
    }

    /// Blocks until `at`, to the nearest hundredth of a millisecond; `false` if the drive is stopped before.
    pub(super) fn spin_until(&self, at: Duration) -> bool {
        self.wait_with(at, |left| match left.checked_sub(SPIN) {
            // Parking is a sleep here: nobody unparks, and a wake-up without cause only goes round once more.
            Some(sleep) if !sleep.is_zero() => std::thread::park_timeout(sleep.min(SLICE)),
            _ => std::hint::spin_loop(),
        })
    }

    /// Pauses again and again until `at`, each time told what is left; `false` if the drive is stopped before.
    fn wait_with(&self, at: Duration, pause: impl Fn(Duration)) -> bool {
        loop {
            if self.stop.is_cancelled() {
                return false;
            }
            let left = at.saturating_sub(self.elapsed());
            if left.is_zero() {
                return true;
            }
            pause(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_never_ends_early_and_a_stop_ends_it() {
        let stop = CancellationToken::new();
        let clock = Clock::start(&stop);
        let at = Duration::from_millis(3);
        assert!(clock.spin_until(at));
        assert!(clock.elapsed() >= at);
        assert!(clock.sleep_until(2 * at));
        assert!(clock.elapsed() >= 2 * at);
        stop.cancel();
        assert!(!clock.spin_until(Duration::from_hours(1)));
        assert!(!clock.sleep_until(Duration::from_hours(1)));
    }
}
