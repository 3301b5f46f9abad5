//! Mean and 95th percentile of durations, as a dashboard shows them. The mean is exact; ClickHouse estimates the
//! percentile with a t-digest, so it is right if its rank is near 95 %. The durations are those of events, never
//! latencies of questions.

use std::ops::RangeInclusive;

/// How far the rank of an estimated percentile may be from 95 %. ClickHouse's t-digest errs by about 1 %, and a merge of
/// hourly states by a little more.
const RANK_ERROR: f64 = 0.02;
/// Largest relative error of the mean: it is a quotient of two integers.
const MEAN_ERROR: f64 = 1e-9;

/// Mean and 95th percentile of durations, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timing {
    mean: f64,
    /// A single value of a measured one.
    p95: RangeInclusive<f64>,
}

impl Timing {
    /// As a store returned it.
    pub(super) fn measured(mean: f64, p95: f32) -> Self {
        Self { mean, p95: f64::from(p95)..=f64::from(p95) }
    }

    /// As these durations have it. Without any, both are 0.
    pub(super) fn expected(mut durations: Vec<u32>) -> Self {
        durations.sort_unstable();
        let sum: u64 = durations.iter().map(|&duration| u64::from(duration)).sum();
        let last = durations.len().saturating_sub(1);
        // One value further in each direction: between two values an estimate is interpolated.
        let low = (last as f64 * (0.95 - RANK_ERROR)).floor() as usize;
        let high = (last as f64 * (0.95 + RANK_ERROR)).ceil() as usize;
        let value = |rank: usize| durations.get(rank.min(last)).map_or(0.0, |&duration| f64::from(duration));
        let mean = if durations.is_empty() { 0.0 } else { sum as f64 / durations.len() as f64 };
        Self { mean, p95: value(low.saturating_sub(1))..=value(high + 1) }
    }

    /// Whether a measured timing is the expected one.
    pub(super) fn is(&self, expected: &Self) -> bool {
        let is_near = (self.mean - expected.mean).abs() <= MEAN_ERROR * expected.mean.abs().max(1.0);
        is_near && expected.p95.contains(self.p95.start())
    }
}

#[cfg(test)]
impl Timing {
    /// Makes a measured mean wrong.
    pub(super) fn corrupt_mean(&mut self) {
        self.mean += 0.001;
    }

    /// Makes a measured percentile wrong.
    pub(super) fn corrupt_p95(&mut self) {
        self.p95 = -1.0..=-1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_exact_and_the_percentile_near_its_rank() {
        let expected = Timing::expected((1..=1_000).collect());
        let is = |mean, p95| Timing::measured(mean, p95).is(&expected);
        assert!(is(500.5, 950.0) && is(500.5, 940.0) && is(500.5, 960.0));
        assert!(!is(500.6, 950.0), "the mean");
        assert!(!is(500.5, 900.0) && !is(500.5, 990.0), "the percentile");
        let hundred = Timing::expected((1..=100).collect());
        assert!(!Timing::measured(50.5, 100.0).is(&hundred), "the maximum of a hundred is no percentile");
    }

    #[test]
    fn few_durations_and_none_have_a_timing() {
        assert!(Timing::measured(7.0, 7.0).is(&Timing::expected(vec![7])));
        assert!(!Timing::measured(7.0, 8.0).is(&Timing::expected(vec![7])));
        assert!(Timing::measured(1.5, 1.9).is(&Timing::expected(vec![1, 2])));
        assert!(Timing::measured(0.0, 0.0).is(&Timing::expected(Vec::new())));
    }
}
