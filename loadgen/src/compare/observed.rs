//! What one run says about one quantity: its value on the scale of the tests, and the variance within the run. The noise
//! between runs is not known here.

use std::time::Duration;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, Normal};

use crate::measure::DurationHistogram;
use crate::measure::blocks::Blocks;
use crate::report::SeriesReport;

/// Share of a median that the resolution of the histograms hides, as a standard deviation of its logarithm.
const RESOLUTION: f64 = 0.001;
/// Standard deviation of the logarithm that the series of a report hides: its percentiles are up to 12.5 % too high.
const COARSE: f64 = 0.06;
/// The 95th percentile of a normal variable, in standard deviations.
const P95_DEVIATIONS: f64 = 1.644_853_626_951_472_2;
/// Maximum accepted probability of a wrong "worse", and of a wrong "no worse".
pub(super) const ALPHA: f64 = 0.05;

/// A quantity that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Median latency.
    P50,
    /// 95th percentile of the latency.
    P95,
    /// 99th percentile of the latency, which informs and is not judged.
    P99,
    /// Share of the samples that exceed the limit of an SLO.
    Exceeding,
}

impl Quantity {
    /// The percentiles.
    pub(super) const PERCENTILES: [(Self, f64); 3] = [(Self::P50, 0.5), (Self::P95, 0.95), (Self::P99, 0.99)];

    /// The name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Exceeding => "exceeding",
        }
    }

    /// Whether a change of it can make a run worse.
    pub fn is_judged(self) -> bool {
        self != Self::P99
    }
}

/// A quantity of one run: the natural logarithm of a percentile in microseconds, or a share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observed {
    pub(super) value: f64,
    /// Variance of the value within the run.
    pub(super) variance: f64,
}

/// A percentile of a run; `None` without a sample. Its variance is that of the order statistics one standard deviation of
/// the rank away, for as many samples as carry the information of all: those above the percentile come in bursts.
pub(super) fn percentile(histogram: &DurationHistogram, series: &SeriesReport, quantile: f64) -> Option<Observed> {
    let log = |quantile: f64| Some(log(histogram.quantile(quantile)?.as_micros() as u64));
    let value = log(quantile)?;
    let effective = above(series, value).effective(ALPHA, None).samples.clamp(1.0, histogram.len().max(1) as f64);
    let rank = (quantile * (1.0 - quantile) / effective).sqrt();
    let [low, high] = [log((quantile - rank).max(0.0))?, log((quantile + rank).min(1.0))?];
    let deviation = ((high - low) / 2.0).max(RESOLUTION);
    Some(Observed { value, variance: deviation * deviation })
}

/// The samples of each interval, and about how many of them are above a latency. A report has no histogram of an interval,
/// so its latencies are taken to be lognormal, with its median and its 95th percentile.
fn above(series: &SeriesReport, limit: f64) -> Blocks {
    let intervals = series.offered.iter().zip(series.p50_us.iter().zip(&series.p95_us));
    let counts = intervals.map(|(&offered, (p50, p95))| {
        let (Some(p50), Some(p95)) = (p50, p95) else { return (0, 0) };
        let [p50, p95] = [*p50, *p95].map(log);
        let deviation = ((p95 - p50) / P95_DEVIATIONS).max(COARSE);
        let share = Normal::standard().sf((limit - p50) / deviation);
        (offered, (share * offered as f64).round() as u64)
    });
    Blocks::of(Duration::from_secs_f64(series.interval_s), counts)
}

fn log(micros: u64) -> f64 {
    (micros.max(1) as f64).ln()
}

/// A share of a run; `None` without a sample. Half an exceedance is added for the variance, since none proves no zero.
pub(super) fn share(exceedances: u64, samples: u64, effective: f64) -> Option<Observed> {
    let value = exceedances as f64 / (samples > 0).then_some(samples as f64)?;
    let effective = effective.max(1.0);
    let smoothed = (value * effective + 0.5) / (effective + 1.0);
    Some(Observed { value, variance: smoothed * (1.0 - smoothed) / effective })
}
