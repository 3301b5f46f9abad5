//! A histogram of durations. It rounds by 0.1 %, so exceedances are never counted from it.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Maximum value of a histogram; longer durations count as this one.
pub(super) const MAX_MICROS: u64 = 600_000_000;

/// Bits of a number that three significant digits keep: a histogram has 2,048 bars up to 2,047.
const PRECISION_BITS: u32 = 11;

/// A histogram of durations up to ten minutes, with three significant digits.
#[derive(Debug, Clone)]
pub struct DurationHistogram(pub(super) Histogram<u64>);

impl Default for DurationHistogram {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_MICROS, 3).expect("1 to 600,000,000 at 3 digits are legal bounds"))
    }
}

impl DurationHistogram {
    /// Records a duration.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(duration.as_micros().min(u128::from(MAX_MICROS)) as u64);
    }

    /// Records a duration several times.
    pub(super) fn record_many(&mut self, duration: Duration, times: u64) {
        self.0.saturating_record_n(duration.as_micros().min(u128::from(MAX_MICROS)) as u64, times);
    }

    /// The longest duration that counts as this one, in microseconds: three significant digits are kept as the upper 11
    /// bits of the number.
    pub(super) fn rounded_micros(duration: Duration) -> u32 {
        let micros = duration.as_micros().min(u128::from(MAX_MICROS)) as u32;
        let dropped = (u32::BITS - micros.leading_zeros()).saturating_sub(PRECISION_BITS);
        micros | ((1 << dropped) - 1)
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for bar in other.0.iter_recorded() {
            self.0.saturating_record_n(bar.value_iterated_to(), bar.count_at_value());
        }
    }

    /// Number of durations.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The duration that the fraction `quantile` (0 to 1) of the recorded durations does not exceed; `None` if nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(quantile)))
    }

    /// The mean duration; zero if nothing was recorded.
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e6)
    }

    /// The recorded durations, to the resolution of the histogram, with their counts, shortest first.
    pub fn recorded(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.0.iter_recorded().map(|bar| (Duration::from_micros(bar.value_iterated_to()), bar.count_at_value()))
    }

    /// Number of durations above `limit`, to the resolution of the histogram.
    pub fn count_above(&self, limit: Duration) -> u64 {
        let limit = limit.as_micros().min(u128::from(MAX_MICROS)) as u64;
        self.0.iter_recorded().filter(|bar| bar.value_iterated_to() > limit).map(|bar| bar.count_at_value()).sum()
    }

    /// The longest duration; `None` if nothing was recorded.
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.0.max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_a_histogram() {
        for micros in [0, 1, 2_047, 2_048, 2_049, 4_096, 99_999, 1_234_567, 599_999_999] {
            let duration = Duration::from_micros(micros);
            let mut histogram = DurationHistogram::default();
            histogram.record(duration);
            let longest = histogram.0.highest_equivalent(micros);
            assert_eq!(u64::from(DurationHistogram::rounded_micros(duration)), longest, "{micros}");
        }
    }

    #[test]
    fn merged_histograms_hold_the_durations_of_both() {
        let (mut first, mut second) = (DurationHistogram::default(), DurationHistogram::default());
        first.record(Duration::from_secs(5));
        second.record(Duration::from_secs(7));
        first.merge(&second);
        assert_eq!((first.len(), first.max().map(|longest| longest.as_secs())), (2, Some(7)));
    }
}
