//! Latencies by longer intervals of the drive, to three significant digits, for logs that other tools read. An interval
//! keeps each distinct latency once, so its size is bounded by the resolution of a histogram. No verdict depends on it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::DurationHistogram;
use super::sample::Sample;

/// Minimum length of an interval.
const MIN_LENGTH: Duration = Duration::from_secs(10);
/// Maximum number of intervals.
const MAX_INTERVALS: u32 = 60;

/// Latencies by interval, by intended start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervals {
    length: Duration,
    /// Number of latencies by their value in microseconds, rounded as a histogram does.
    latencies: Vec<BTreeMap<u32, u32>>,
}

impl Intervals {
    /// Empty intervals of a drive: of ten seconds, or a 60th of the drive if that is longer.
    pub fn new(drive: Duration) -> Self {
        let length = MIN_LENGTH.max(drive / MAX_INTERVALS);
        // A length that is cut to nanoseconds leaves no further interval.
        let count = drive.div_duration_f64(length).ceil().clamp(1.0, f64::from(MAX_INTERVALS)) as usize;
        Self { length, latencies: vec![BTreeMap::new(); count] }
    }

    /// Counts a sample; an error has no latency.
    pub fn record(&mut self, sample: Sample) {
        if sample.outcome.has_latency() {
            let interval = sample.intended.div_duration_f64(self.length) as usize;
            let last = self.latencies.len() - 1;
            let micros = DurationHistogram::rounded_micros(sample.latency);
            *self.latencies[interval.min(last)].entry(micros).or_default() += 1;
        }
    }

    /// Adds the intervals of another recorder of the same drive.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            for (micros, count) in theirs {
                *mine.entry(*micros).or_default() += count;
            }
        }
    }

    /// Length of an interval; the last one may be shorter.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// The latencies of each interval, in order of time.
    pub fn histograms(&self) -> impl Iterator<Item = DurationHistogram> {
        self.latencies.iter().map(|latencies| {
            let mut histogram = DurationHistogram::default();
            for (micros, count) in latencies {
                histogram.record_many(Duration::from_micros(u64::from(*micros)), u64::from(*count));
            }
            histogram
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::measure::{Backing, Outcome};

    fn sample(intended_ms: u64, latency_us: u64) -> Sample {
        let [intended, lag, waited] = [intended_ms, 0, 0].map(Duration::from_millis);
        Sample {
            intended,
            lag,
            waited,
            latency: Duration::from_micros(latency_us),
            outcome: Outcome::Correct,
            backing: Backing::NotAsked,
        }
    }

    #[test]
    fn a_drive_has_at_most_60_intervals_of_at_least_ten_seconds() {
        for (drive, length, count) in [(4, 10, 1), (75, 10, 8), (600, 10, 60), (86_400, 1_440, 60)] {
            let intervals = Intervals::new(Duration::from_secs(drive));
            assert_eq!((intervals.length().as_secs(), intervals.histograms().count()), (length, count), "{drive} s");
        }
    }

    #[test]
    fn an_error_has_no_latency_and_a_late_sample_is_in_the_last_interval() {
        let mut intervals = Intervals::new(Duration::from_secs(20));
        intervals.record(Sample { outcome: Outcome::Error, ..sample(5_000, 10) });
        intervals.record(sample(25_000, 10));
        let counts: Vec<u64> = intervals.histograms().map(|one| one.len()).collect();
        assert_eq!(counts, [0, 1]);
    }

    proptest! {
        #[test]
        fn all_intervals_together_are_the_histogram_of_the_drive(
            samples in prop::collection::vec((0_u64..90_000, 0_u64..700_000_000), 0..300)
        ) {
            let (mut intervals, mut whole) = (Intervals::new(Duration::from_secs(75)), DurationHistogram::default());
            for (at, latency) in samples {
                intervals.record(sample(at, latency));
                whole.record(Duration::from_micros(latency));
            }
            let mut together = DurationHistogram::default();
            intervals.histograms().for_each(|one| together.merge(&one));
            let recorded = |histogram: &DurationHistogram| histogram.recorded().collect::<Vec<_>>();
            prop_assert_eq!(recorded(&together), recorded(&whole));
        }
    }
}
