//! How fast a count grows, and how a time left is written. It never reads a clock: the caller passes the time.

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
        let is_recent = |(marked, _): &&(Duration, u64)| at.saturating_sub(*marked) < WINDOW;
        let (from, before) = match self.marks.iter().find(is_recent) {
            Some(&mark) => mark,
            // A count that stands still is not marked.
            None => (at.checked_sub(WINDOW)?, self.marks.back()?.1),
        };
        let elapsed = at.saturating_sub(from);
        (elapsed >= MIN_TIME).then(|| count.saturating_sub(before) as f64 / elapsed.as_secs_f64())
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
        assert!(pace.marks.len() <= 12, "{}", pace.marks.len());
    }

    #[test]
    fn without_time_there_is_no_rate() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(SECOND, 1), None);
        pace.mark(SECOND, 1);
        assert_eq!(pace.rate(SECOND, 1), None);
        assert_eq!(pace.rate(9 * SECOND, 9), Some(1.0));
        assert_eq!(pace.rate(19 * SECOND, 9), Some(0.8), "it stood still until ten seconds ago");
    }

    #[test]
    fn a_count_that_begins_late_has_its_own_rate() {
        let mut pace = Pace::starting();
        for second in 60..=64 {
            pace.mark(second * SECOND, u64::from(second - 59) * 100);
        }
        assert_eq!(pace.rate(64 * SECOND, 500), Some(100.0));
    }
}
