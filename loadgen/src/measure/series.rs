//! Counts and latencies by interval of the drive, for charts. Its size depends only on the length of the drive: at most
//! 600 intervals, each with a coarse histogram. No verdict depends on it, and it never reads a clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blocks;
use super::sample::{Outcome, Sample};
use super::sparse;

/// Each power of two is divided into this many bars, so a percentile is too high by at most 12.5 %.
const BARS_PER_OCTAVE: usize = 8;
/// Bars of one interval: up to 2^30 microseconds, more than the longest latency that is kept.
const BARS: usize = (30 - 2) * BARS_PER_OCTAVE;
/// The last bar holds longer latencies too.
const LAST_BAR: usize = BARS - 1;

/// Samples by interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    interval: Duration,
    intervals: Vec<Counted>,
    /// The histograms of all intervals, concatenated.
    #[serde(with = "sparse")]
    bars: Vec<u32>,
    answered_late: u64,
}

/// What is counted in one interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    offered: u64,
    answered: u64,
    failed: u64,
    max_us: u64,
}

/// One interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Point {
    /// Samples with their intended start in this interval.
    pub offered: u64,
    /// Answers that came in this interval, whenever they were due.
    pub answered: u64,
    /// Errors and time-outs, by their intended start.
    pub failed: u64,
    /// Median latency in microseconds, by intended start; `None` without an answer or a time-out.
    pub p50_us: Option<u64>,
    /// 95th percentile.
    pub p95_us: Option<u64>,
    /// 99th percentile.
    pub p99_us: Option<u64>,
    /// Longest, exact.
    pub max_us: Option<u64>,
}

impl Series {
    /// An empty series over a drive, with the intervals of [`blocks::Blocks::new`].
    pub fn new(drive: Duration) -> Self {
        let count = blocks::intervals(drive);
        let interval = (drive / count as u32).max(Duration::from_micros(1));
        Self { interval, intervals: vec![Counted::default(); count], bars: vec![0; count * BARS], answered_late: 0 }
    }

    /// Counts a sample.
    pub fn record(&mut self, sample: Sample) {
        let Sample { intended, latency, outcome, .. } = sample;
        let due = self.index(intended).min(self.intervals.len() - 1);
        let micros = latency.as_micros() as u64;
        let counted = &mut self.intervals[due];
        counted.offered += 1;
        counted.failed += u64::from(outcome.is_failure());
        if outcome.has_latency() {
            counted.max_us = counted.max_us.max(micros);
            self.bars[due * BARS + bar(micros)] += 1;
        }
        if matches!(outcome, Outcome::Correct | Outcome::Wrong) {
            let answered = self.index(intended + latency);
            match self.intervals.get_mut(answered) {
                Some(interval) => interval.answered += 1,
                None => self.answered_late += 1,
            }
        }
    }

    fn index(&self, at: Duration) -> usize {
        (at.as_micros() as u64 / self.interval.as_micros() as u64) as usize
    }

    /// Adds another series of the same drive.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.intervals.iter_mut().zip(&other.intervals) {
            mine.offered += theirs.offered;
            mine.answered += theirs.answered;
            mine.failed += theirs.failed;
            mine.max_us = mine.max_us.max(theirs.max_us);
        }
        for (mine, theirs) in self.bars.iter_mut().zip(&other.bars) {
            *mine += theirs;
        }
        self.answered_late += other.answered_late;
    }

    /// Length of an interval.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Answers that came after the end of the drive, which no interval contains.
    pub fn answered_late(&self) -> u64 {
        self.answered_late
    }

    /// Every interval in order of time.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        self.intervals.iter().zip(self.bars.chunks_exact(BARS)).map(|(counted, bars)| {
            let Counted { offered, answered, failed, max_us } = *counted;
            let quantile = |quantile| quantile_of(bars, quantile).map(|value| value.min(max_us));
            Point {
                offered,
                answered,
                failed,
                p50_us: quantile(0.5),
                p95_us: quantile(0.95),
                p99_us: quantile(0.99),
                max_us: quantile(1.0).map(|_| max_us),
            }
        })
    }
}

/// The bar of a latency: exact below 8 microseconds, then eight bars for each power of two.
fn bar(micros: u64) -> usize {
    if micros < BARS_PER_OCTAVE as u64 {
        return micros as usize;
    }
    let octave = micros.ilog2() as usize;
    let within = (micros >> (octave - 3)) as usize % BARS_PER_OCTAVE;
    ((octave - 2) * BARS_PER_OCTAVE + within).min(LAST_BAR)
}

/// The longest latency of a bar.
fn longest(bar: usize) -> u64 {
    if bar < BARS_PER_OCTAVE {
        return bar as u64;
    }
    let (octave, within) = (bar / BARS_PER_OCTAVE + 2, (bar % BARS_PER_OCTAVE) as u64);
    ((BARS_PER_OCTAVE as u64 + within + 1) << (octave - 3)) - 1
}

fn quantile_of(bars: &[u32], quantile: f64) -> Option<u64> {
    let count: u64 = bars.iter().map(|&bar| u64::from(bar)).sum();
    let rank = (count as f64 * quantile).ceil().max(1.0) as u64;
    let mut below = 0;
    bars.iter()
        .position(|&bar| {
            below += u64::from(bar);
            below >= rank
        })
        .map(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::Backing;

    fn sample(intended_ms: u64, latency_us: u64, outcome: Outcome) -> Sample {
        let (intended, latency) = (Duration::from_millis(intended_ms), Duration::from_micros(latency_us));
        let (lag, waited) = Default::default();
        Sample { intended, lag, latency, waited, outcome, backing: Backing::NotAsked }
    }

    #[test]
    fn a_slow_answer_counts_where_it_was_due_and_where_it_came() {
        let mut series = Series::new(Duration::from_mins(1));
        series.record(sample(10_500, 2_000_000, Outcome::Correct));
        series.record(sample(10_600, 700, Outcome::Error));
        series.record(sample(59_900, 3_000_000, Outcome::Wrong));
        let points: Vec<Point> = series.points().collect();
        assert_eq!((points.len(), series.interval()), (60, Duration::from_secs(1)));
        let due = Point {
            offered: 2,
            failed: 1,
            p50_us: Some(2_000_000),
            p95_us: Some(2_000_000),
            p99_us: Some(2_000_000),
            max_us: Some(2_000_000),
            ..Point::default()
        };
        assert_eq!((points[10], points[12].answered), (due, 1));
        assert_eq!((points[0], series.answered_late()), (Point::default(), 1));
    }

    #[test]
    fn a_long_drive_has_longer_intervals_and_not_more() {
        let day = Series::new(Duration::from_hours(24));
        assert_eq!((day.points().count(), day.interval()), (600, Duration::from_secs(144)));
    }

    proptest! {
        #[test]
        fn a_bar_holds_what_is_recorded_in_it(micros in 0_u64..600_000_000) {
            let longest = longest(bar(micros));
            prop_assert!(longest >= micros && longest as f64 <= micros as f64 * 1.125, "{micros} {longest}");
        }

        #[test]
        fn merging_is_the_same_as_recording_together(samples in prop::collection::vec((0_u64..70_000, 0_u64..900_000_000), 0..200)) {
            let drive = Duration::from_mins(1);
            let (mut all, mut even, mut odd) = (Series::new(drive), Series::new(drive), Series::new(drive));
            for (i, &(at, latency)) in samples.iter().enumerate() {
                let sample = sample(at, latency, Outcome::Correct);
                all.record(sample);
                if i % 2 == 0 { even.record(sample) } else { odd.record(sample) }
            }
            even.merge(&odd);
            prop_assert_eq!(all, even);
        }
    }
}
