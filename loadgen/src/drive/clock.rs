//! The drive's clock: blocks a thread until an intended start. tokio's timer has a resolution of one millisecond; a
//! thread that sleeps until just before the instant and spins the rest is about 50 times more precise. The clock never
//! waits more than 20 ms past a stop.

use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, is_injected};

/// The last part of a wait is spent spinning, since a sleep overruns by about this much.
const SPIN: Duration = Duration::from_micros(100);
/// Minimum sleep of a wait that may overrun.
const TICK: Duration = Duration::from_millis(2);
/// Maximum sleep between two checks for a stop.
const SLICE: Duration = Duration::from_millis(20);

/// Time since the start of a drive.
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

    /// The same clock, started `later`.
    pub(super) fn after(&self, later: Duration) -> Self {
        Self { start: self.start + later, system_start: self.system_start + later, stop: self.stop.clone() }
    }

    /// Time since the start, by the monotonic clock; zero before it.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Time since the start, by the system clock; zero if the clock was set back past the start.
    pub(super) fn system_elapsed(&self) -> Duration {
        let jump = if is_injected(Fault::JumpClock) { Duration::from_secs(2) } else { Duration::ZERO };
        self.system_start.elapsed().unwrap_or_default() + jump
    }

    /// The instant `at` after the start.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// Blocks until `at`, or up to two milliseconds longer; `false` if the drive is stopped first. For writes, which
    /// come thousands of times a second and are batched downstream anyway: spinning would take a tenth of a processor
    /// from the stores under test.
    pub(super) fn sleep_until(&self, at: Duration) -> bool {
        self.wait_with(at, |remaining| std::thread::park_timeout(remaining.clamp(TICK, SLICE)))
    }

    /// Blocks until `at`, to a hundredth of a millisecond; `false` if the drive is stopped first.
    pub(super) fn spin_until(&self, at: Duration) -> bool {
        self.wait_with(at, |remaining| match remaining.checked_sub(SPIN) {
            // Parking is a sleep here: nothing unparks this thread, and a spurious wake-up only repeats the loop.
            Some(sleep) if !sleep.is_zero() => std::thread::park_timeout(sleep.min(SLICE)),
            _ => std::hint::spin_loop(),
        })
    }

    /// Calls `pause` with the remaining time until `at`; `false` if the drive is stopped first.
    fn wait_with(&self, at: Duration, pause: impl Fn(Duration)) -> bool {
        loop {
            if self.stop.is_cancelled() {
                return false;
            }
            let remaining = at.saturating_sub(self.elapsed());
            if remaining.is_zero() {
                return true;
            }
            pause(remaining);
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
