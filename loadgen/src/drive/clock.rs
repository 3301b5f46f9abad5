//! The drive's clock: the time since its start, and waits of the thread that sends the writes. It never waits more than
//! 20 ms past a stop.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, is_injected};

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

    /// The start, by the system clock.
    pub(super) fn system_start(&self) -> DateTime<Utc> {
        self.system_start.into()
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
        while !self.is_stopped() {
            let remaining = at.saturating_sub(self.elapsed());
            if remaining.is_zero() {
                return true;
            }
            // Parking is a sleep here: nothing unparks this thread, and a spurious wake-up only repeats the loop.
            std::thread::park_timeout(remaining.clamp(TICK, SLICE));
        }
        false
    }

    /// Whether the drive is stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
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
        assert!(clock.sleep_until(at));
        assert!(clock.elapsed() >= at);
        stop.cancel();
        assert!(!clock.sleep_until(Duration::from_hours(1)));
    }
}
