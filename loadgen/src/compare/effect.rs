//! The change of a quantity from side A to side B: the estimate, its interval and the probabilities of the tests. Runs are
//! the samples; where a side has one run, its noise is that of the other side, or assumed. It gives no verdict.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

use super::observed::{ALPHA, Observed, Quantity};

/// Standard deviation between runs that is assumed where none was repeated: of a logarithm, so about 5 %.
pub(super) const ASSUMED_DEVIATION: f64 = 0.05;
/// The same of a share, as a part of that share: latencies that are 5 % higher move about as many across a limit.
const ASSUMED_OF_SHARE: f64 = 0.3;

/// Where the noise between runs is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// From the repeats of both sides.
    BothSides,
    /// From the repeats of one side; the other is assumed to have the same.
    OneSide,
    /// It is not known, and a floor is assumed.
    Assumed,
}

impl Noise {
    /// Of sides with these numbers of runs.
    pub(super) fn of(a: usize, b: usize) -> Self {
        match (a, b) {
            (0 | 1, 0 | 1) => Self::Assumed,
            (0 | 1, _) | (_, 0 | 1) => Self::OneSide,
            _ => Self::BothSides,
        }
    }
}

/// A change: of a logarithm for percentiles, so that `exp` is a ratio, and of a share otherwise. Positive is worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Effect {
    /// The estimate.
    pub estimate: f64,
    /// Lower end of the 90 % interval: the change is lower with a probability of 5 %.
    pub low: f64,
    /// Upper end of the 90 % interval.
    pub high: f64,
    /// Probability of a change this high or higher if nothing had changed.
    pub worse_probability: f64,
    /// Probability of a change this low or lower if nothing had changed.
    pub better_probability: f64,
}

/// The change of a quantity between two sides, each with at least one run.
pub(super) fn effect(quantity: Quantity, a: &[Observed], b: &[Observed]) -> Option<Effect> {
    let [before, after] = [mean(a)?, mean(b)?];
    let estimate = after - before;
    let assumed = match quantity {
        Quantity::Exceeding => ASSUMED_OF_SHARE * (before + after) / 2.0,
        _ => ASSUMED_DEVIATION,
    };
    let (variance, freedom) = noise(a, b, assumed);
    let error = variance.sqrt();
    let half = quantile(freedom) * error;
    Some(Effect {
        estimate,
        low: estimate - half,
        high: estimate + half,
        worse_probability: above(estimate / error, freedom),
        better_probability: above(-estimate / error, freedom),
    })
}

fn mean(side: &[Observed]) -> Option<f64> {
    (!side.is_empty()).then(|| side.iter().map(|one| one.value).sum::<f64>() / side.len() as f64)
}

/// The variance of the estimate, and its degrees of freedom; `None` are infinitely many. It is never below the variance
/// within the runs, which few repeats can hide by chance.
fn noise(a: &[Observed], b: &[Observed], assumed: f64) -> (f64, Option<f64>) {
    let within = within(a) + within(b);
    let [n, m] = [a.len() as f64, b.len() as f64];
    match (between(a), between(b)) {
        (Some(first), Some(second)) => {
            let [first, second] = [first / n, second / m];
            let spread = first * first / (n - 1.0) + second * second / (m - 1.0);
            // Welch and Satterthwaite; without any spread, the fewest that both may have.
            let freedom = if spread > 0.0 { (first + second).powi(2) / spread } else { n.min(m) - 1.0 };
            ((first + second).max(within), Some(freedom))
        }
        (Some(known), None) => ((known * (1.0 / n + 1.0 / m)).max(within), Some(n - 1.0)),
        (None, Some(known)) => ((known * (1.0 / n + 1.0 / m)).max(within), Some(m - 1.0)),
        (None, None) => (within + 2.0 * assumed * assumed, None),
    }
}

/// Variance of the mean of a side's runs within them.
fn within(side: &[Observed]) -> f64 {
    let count = side.len() as f64;
    side.iter().map(|one| one.variance).sum::<f64>() / (count * count)
}

/// Variance between the runs of a side; `None` for a single run.
fn between(side: &[Observed]) -> Option<f64> {
    let mean = mean(side).filter(|_| side.len() > 1)?;
    Some(side.iter().map(|one| (one.value - mean).powi(2)).sum::<f64>() / (side.len() as f64 - 1.0))
}

/// The number of standard errors that is exceeded with probability [`ALPHA`].
fn quantile(freedom: Option<f64>) -> f64 {
    let student = freedom.and_then(|freedom| StudentsT::new(0.0, 1.0, freedom).ok());
    student.map_or_else(|| Normal::standard().inverse_cdf(1.0 - ALPHA), |student| student.inverse_cdf(1.0 - ALPHA))
}

/// The probability of more than that number of standard errors.
fn above(errors: f64, freedom: Option<f64>) -> f64 {
    let student = freedom.and_then(|freedom| StudentsT::new(0.0, 1.0, freedom).ok());
    student.map_or_else(|| Normal::standard().sf(errors), |student| student.sf(errors))
}
