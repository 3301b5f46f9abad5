//! The drive's clock: the time since its start, and waits of the thread that sends the writes. It never waits more than
//! 20 ms past a stop.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, is_injected};

/// Minimum sleep of a wait that may overrun.
pub(super) const TICK: Duration = Duration::from_millis(2);
/// A longer time between two readings of clocks says nothing about their difference: the thread was suspended.
const READING: Duration = Duration::from_millis(5);
/// Maximum sleep between two checks for a stop.
const SLICE: Duration = Duration::from_millis(20);

/// How far the system clock was ahead of the monotonic one, and behind it, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Deviation {
    ahead: Duration,
    behind: Duration,
}

impl Deviation {
    /// The larger of both in each direction.
    pub(super) fn or(self, other: Self) -> Self {
        Self { ahead: self.ahead.max(other.ahead), behind: self.behind.max(other.behind) }
    }

    /// A time by the monotonic clock, as the system clock had it when it deviated most.
    pub(super) fn apply(self, monotonic: Duration) -> Duration {
        if self.ahead >= self.behind { monotonic + self.ahead } else { monotonic.saturating_sub(self.behind) }
    }
}

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

    /// How far the system clock deviates now; none if the thread was suspended meanwhile.
    pub(super) fn deviation(&self) -> Deviation {
        let (before, system, after) = (self.elapsed(), self.system_elapsed(), self.elapsed());
        if after.saturating_sub(before) > READING {
            return Deviation::default();
        }
        Deviation { ahead: system.saturating_sub(after), behind: before.saturating_sub(system) }
    }

    /// Time since the start, by the system clock; zero if the clock was set back past the start.
    fn system_elapsed(&self) -> Duration {
        let jump = if is_injected(Fault::JumpClock) { Duration::from_secs(2) } else { Duration::ZERO };
        self.system_start.elapsed().unwrap_or_default() + jump
    }

    /// The instant `at` after the start.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.start + at
    }

    /// Blocks until `at`, or up to a `tick` longer; `false` if the drive is stopped first. For writes, which
    /// come thousands of times a second and are batched downstream anyway: spinning would take a tenth of a processor
    /// from the stores under test.
    pub(super) fn sleep_until(&self, at: Duration, tick: Duration) -> bool {
        while !self.is_stopped() {
            let remaining = at.saturating_sub(self.elapsed());
            if remaining.is_zero() {
                return true;
            }
            // Parking is a sleep here: nothing unparks this thread, and a spurious wake-up only repeats the loop.
            std::thread::park_timeout(remaining.clamp(tick, SLICE));
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
    fn a_clock_that_is_set_back_and_forth_deviated_all_the_same() {
        let [second, minute] = [1, 60].map(Duration::from_secs);
        let clock = Clock::start(&CancellationToken::new());
        let set_back = Clock { system_start: clock.system_start + second, ..clock.clone() };
        let set_forth = Clock { system_start: clock.system_start - second, ..clock.clone() };
        // A thread that is suspended meanwhile learns nothing.
        let largest = |clock: &Clock| (0..20).map(|_| clock.deviation()).fold(Deviation::default(), Deviation::or);
        let all = [&set_back, &clock, &set_forth, &clock].map(largest);
        assert!(all[2].ahead > second / 2 && all[3].ahead < second / 2, "{all:?}");
        let worst = all.into_iter().fold(Deviation::default(), Deviation::or);
        assert!(worst.apply(minute) > minute + second / 2, "{worst:?}");
        let behind = Deviation { ahead: second, behind: 3 * second };
        assert_eq!(behind.apply(minute), 57 * second);
    }

    #[test]
    fn a_wait_never_ends_early_and_a_stop_ends_it() {
        let stop = CancellationToken::new();
        let clock = Clock::start(&stop);
        let at = Duration::from_millis(3);
        assert!(clock.sleep_until(at, TICK));
        assert!(clock.elapsed() >= at);
        stop.cancel();
        assert!(!clock.sleep_until(Duration::from_hours(1), TICK));
    }
}
