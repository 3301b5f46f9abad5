//! How fast a count grows, how long the rest takes, and how that is written. It never reads a clock: the caller passes the time.

use std::{collections::VecDeque, time::Duration};

/// The rate is that of this much time.
const WINDOW: Duration = Duration::from_secs(10);
/// Without this much time, there is no rate.
const MIN_TIME: Duration = Duration::from_millis(500);

/// A time left as minutes and seconds, rounded up.
pub(super) fn clock(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Past values of a count.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Times since the start and values, oldest first; at most a few in each second.
    marks: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// A count that is zero at the start.
    pub(super) fn starting() -> Self {
        Self { marks: VecDeque::from([(Duration::ZERO, 0)]) }
    }

    /// Notes the value of the count at a time.
    pub(super) fn mark(&mut self, at: Duration, count: u64) {
        let is_new = self.marks.back().is_none_or(|(last, _)| at.saturating_sub(*last) >= MIN_TIME);
        if is_new {
            self.marks.push_back((at, count));
        }
        while self.marks.get(1).is_some_and(|(second, _)| at.saturating_sub(*second) >= WINDOW) {
            self.marks.pop_front();
        }
    }

    /// How much the count grew per second, up to a time and its value; `None` so shortly after the start that nobody knows.
    pub(super) fn rate(&self, at: Duration, count: u64) -> Option<f64> {
        let (from, before) = self.marks.front()?;
        let elapsed = at.saturating_sub(*from);
        (elapsed >= MIN_TIME).then(|| count.saturating_sub(*before) as f64 / elapsed.as_secs_f64())
    }

    /// Time until the count reaches `total` at this rate; `None` if it doesn't grow.
    pub(super) fn left(&self, at: Duration, count: u64, total: u64) -> Option<Duration> {
        let rate = self.rate(at, count).filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(total.saturating_sub(count) as f64 / rate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut pace = Pace::default();
        for second in 0..=30 {
            pace.mark(second * SECOND, if second < 15 { 0 } else { u64::from(second - 15) * 100 });
        }
        let (at, count) = (30 * SECOND, 1_500);
        assert_eq!(pace.rate(at, count), Some(100.0));
        assert_eq!(pace.left(at, count, 2_000), Some(5 * SECOND));
        assert!(pace.marks.len() <= 12, "{}", pace.marks.len());
    }

    #[test]
    fn without_growth_or_time_nothing_is_predicted() {
        let mut pace = Pace::default();
        assert_eq!(pace.left(SECOND, 1, 2), None);
        pace.mark(SECOND, 1);
        assert_eq!((pace.rate(SECOND, 1), pace.left(9 * SECOND, 1, 2)), (None, None));
        assert_eq!(pace.left(9 * SECOND, 3, 2), Some(Duration::ZERO));
    }
}
