//! Clocks that stay correct when the machine is suspended or its wall clock is set.
//! It makes no decision.
//!
//! `std::time::Instant` is CLOCK_MONOTONIC on Linux, which stops while the machine is suspended; a [`Moment`] includes that
//! time. Leases and other limits of validity use moments; timeouts that only wait use `Instant`.
//!
//! Wall clocks can be set forward and back and differ between machines. [`unix_now`] never goes backward within a process, and the
//! [`age`] of a time in the future is unknown, never zero.

use std::ops::Add;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// The clock that includes time spent suspended.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
/// On other systems, the monotonic clock includes that time.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

/// A time on a clock that never goes backward and includes the time during which the machine was suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The current time.
    ///
    /// # Panics
    /// On a Linux older than 2.6.39, which does not have this clock.
    pub fn now() -> Self {
        let now = clock_gettime(CLOCK).expect("Linux has had this clock since 2.6.39");
        Self(Duration::from(now))
    }

    /// Time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later)
    }
}

/// The wall clock in seconds since 1970. Within this process it never goes backward and never falls behind the elapsed time, so
/// an announcement of this process never appears younger than it is, even if the clock is set back.
pub fn unix_now() -> u64 {
    static LAST: Mutex<Option<(Duration, Moment)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (unix, now) = advance(*last, wall, Moment::now());
    *last = Some((unix, now));
    unix.as_secs()
}

/// Returns the wall clock, but at least the last reading plus the elapsed time.
fn advance(last: Option<(Duration, Moment)>, wall: Duration, now: Moment) -> (Duration, Moment) {
    (last.map_or(wall, |(unix, at)| wall.max(unix + now.since(at))), now)
}

/// Time since `then`, both in seconds since 1970. `None` if `then` is in the future: one of the clocks is wrong, and the age is
/// unknown.
pub fn age(then: u64, now: u64) -> Option<Duration> {
    now.checked_sub(then).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_counts_suspension() {
        let boottime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
        let (now, later) = (Moment::now(), Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap()));
        assert!(boottime <= now.0 && now.0 <= later, "it is CLOCK_BOOTTIME");
        assert_eq!((now + Duration::from_secs(3)).since(now), Duration::from_secs(3));
        assert_eq!(now.since(now + Duration::from_secs(3)), Duration::ZERO);
    }

    #[test]
    fn a_time_in_the_future_has_no_age() {
        assert_eq!(age(100, 130), Some(Duration::from_secs(30)));
        assert_eq!(age(130, 130), Some(Duration::ZERO));
        assert_eq!(age(131, 130), None);
    }

    proptest! {
        /// However the wall clock is set, the age of an earlier reading is at least the elapsed time.
        #[test]
        fn an_announcement_of_this_process_is_never_too_young(
            steps in proptest::collection::vec((0_u64..100_000, 0_u64..4_000_000_000), 2..20)
        ) {
            let (mut last, mut moment) = (None, Moment(Duration::ZERO));
            let mut readings: Vec<(u64, Moment)> = Vec::new();
            for (step, wall) in steps {
                moment = moment + Duration::from_secs(step);
                last = Some(advance(last, Duration::from_secs(wall), moment));
                let now = last.unwrap().0.as_secs();
                for (then, at) in &readings {
                    let age = age(*then, now);
                    prop_assert!(age.is_some_and(|age| age >= moment.since(*at)), "{age:?} after {:?}", moment.since(*at));
                }
                readings.push((now, moment));
            }
        }
    }
}
