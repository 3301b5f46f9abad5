//! The universal scalability law (N. J. Gunther, "Guerrilla Capacity Planning", 2007), fitted to the steps of a search:
//!
//! ```text
//! X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))
//! ```
//!
//! X is the throughput in answers per second, N the number of questions in progress on average, lambda the throughput of
//! one at a time, sigma the share that waits for others, kappa the cost of agreeing with them. N / X is the mean latency
//! (Little's law), so the law is linear in 1/lambda, sigma/lambda and kappa/lambda, and is fitted by least squares with
//! non-negative coefficients on relative errors. The interval is that of a parametric bootstrap: laws are fitted to latencies
//! drawn around the fitted one, with the deviation of the steps from it, which is itself drawn since few steps show it only
//! roughly. It never extrapolates silently: the report shows the largest N that was measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::population::rng::KeyedRng;

/// Steps of different load that a fit needs.
const MIN_STEPS: usize = 4;
/// Coefficients of the law.
const COEFFICIENTS: usize = 3;
/// Samples of the bootstrap.
const SAMPLES: usize = 1_000;
/// Shares of the samples outside the interval, below and above it.
const OUTSIDE: f64 = 0.025;

/// The load and the throughput of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Questions in progress on average, N.
    pub load: f64,
    /// Answers per second, X.
    pub throughput: f64,
}

/// A fitted law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scaling {
    /// Answers per second of one question at a time.
    pub lambda: f64,
    /// The share that waits for others (contention).
    pub sigma: f64,
    /// The cost of agreement between any two (coherency).
    pub kappa: f64,
    /// The highest throughput of the law, in answers per second; `None` if it grows without a limit.
    pub peak: Option<f64>,
    /// The 95 % interval of the peak; `None` if more than 2.5 % of the samples have no limit.
    pub peak_interval: Option<(f64, f64)>,
    /// The largest load that was measured.
    pub measured_to: f64,
}

impl Scaling {
    /// Fits the law; `None` if there are too few steps of different load.
    pub fn fit(points: &[Point]) -> Option<Self> {
        let (squares, [lambda, sigma, kappa]) = coefficients(points)?;
        let measured_to = points.iter().map(|point| point.load).fold(0.0, f64::max);
        let fitted = Self { lambda, sigma, kappa, peak: peak(lambda, sigma, kappa), peak_interval: None, measured_to };
        let mut peaks = fitted.draw_peaks(points, squares);
        peaks.sort_by(f64::total_cmp);
        let at = |share: f64| peaks.get((share * (peaks.len().saturating_sub(1)) as f64).round() as usize).copied();
        let interval = at(OUTSIDE).zip(at(1.0 - OUTSIDE)).filter(|(_, high)| high.is_finite());
        Some(Self { peak_interval: fitted.peak.and(interval), ..fitted })
    }

    /// The peaks of laws that are fitted to drawn latencies; infinite without a limit. `squares` is the sum of the squared
    /// relative errors of this law.
    fn draw_peaks(&self, points: &[Point], squares: f64) -> Vec<f64> {
        let mut rng = KeyedRng::new(points.len() as u64, "bootstrap", [0, 0]);
        let freedom = points.len() - COEFFICIENTS;
        let draw = |_| {
            let chi_squared: f64 = (0..freedom).map(|_| rng.normal().powi(2)).sum();
            let deviation = (squares / chi_squared).sqrt();
            let moved = points.iter().map(|&Point { load, .. }| {
                // Latencies have relative errors, and stay positive.
                let error = (deviation * rng.normal()).exp();
                Point { load, throughput: self.throughput(load) / error }
            });
            let (_, [lambda, sigma, kappa]) = coefficients(&moved.collect::<Vec<_>>())?;
            Some(peak(lambda, sigma, kappa).unwrap_or(f64::INFINITY))
        };
        (0..SAMPLES).filter_map(draw).collect()
    }

    /// The throughput of the law at a load.
    pub fn throughput(&self, load: f64) -> f64 {
        self.lambda * load / (1.0 + self.sigma * (load - 1.0) + self.kappa * load * (load - 1.0))
    }
}

/// The highest throughput: at sqrt((1 - sigma) / kappa), or the asymptote if kappa is zero.
fn peak(lambda: f64, sigma: f64, kappa: f64) -> Option<f64> {
    if kappa <= 0.0 {
        return (sigma > 0.0).then(|| lambda / sigma);
    }
    let load = ((1.0 - sigma).max(0.0) / kappa).sqrt().max(1.0);
    Some(lambda * load / (1.0 + sigma * (load - 1.0) + kappa * load * (load - 1.0)))
}

/// The sum of the squared relative errors, and lambda, sigma and kappa of the best fit with non-negative coefficients.
fn coefficients(points: &[Point]) -> Option<(f64, [f64; COEFFICIENTS])> {
    let mut loads: Vec<u64> = points.iter().map(|point| point.load.to_bits()).collect();
    loads.sort_unstable();
    loads.dedup();
    if loads.len() < MIN_STEPS || points.iter().any(|point| !(point.load > 0.0 && point.throughput > 0.0)) {
        return None;
    }
    // The best of the fits with each of the two terms or without it.
    let fits = [[true, true], [true, false], [false, true], [false, false]].map(|used| fit_with(points, used));
    let feasible =
        fits.into_iter().flatten().filter(|(_, terms)| terms[0] > 0.0 && terms[1..].iter().all(|&b| b >= 0.0));
    let (squares, [a, b, c]) = feasible.min_by(|(one, _), (other, _)| one.total_cmp(other))?;
    Some((squares, [1.0 / a, b / a, c / a]))
}

/// The sum of squared relative errors and the terms of the fit with the chosen terms; the others are zero.
fn fit_with(points: &[Point], [second, third]: [bool; 2]) -> Option<(f64, [f64; 3])> {
    let rows = points.iter().map(|&Point { load, throughput }| {
        let latency = load / throughput;
        let terms = [1.0, if second { load - 1.0 } else { 0.0 }, if third { load * (load - 1.0) } else { 0.0 }];
        terms.map(|term| term / latency)
    });
    let rows: Vec<[f64; 3]> = rows.collect();
    let mut matrix = [[0.0; 4]; 3];
    for row in &rows {
        for (i, line) in matrix.iter_mut().enumerate() {
            for (j, cell) in line.iter_mut().enumerate() {
                *cell += row[i] * row.get(j).copied().unwrap_or(1.0);
            }
        }
    }
    // A term that is left out has an equation of its own: it is zero.
    for (i, used) in [(1, second), (2, third)] {
        if !used {
            matrix[i][i] = 1.0;
        }
    }
    let terms = solve(matrix)?;
    let error = |row: &[f64; 3]| (row.iter().zip(terms).map(|(x, b)| x * b).sum::<f64>() - 1.0).powi(2);
    Some((rows.iter().map(error).sum(), terms))
}

/// Solves three linear equations by elimination with pivots.
fn solve(mut matrix: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot = (column..3).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        matrix.swap(column, pivot);
        let head = matrix[column];
        if head[column].abs() < 1e-12 {
            return None;
        }
        for (_, row) in matrix.iter_mut().enumerate().filter(|(index, _)| *index != column) {
            let factor = row[column] / head[column];
            for (cell, head) in row.iter_mut().zip(head) {
                *cell -= factor * head;
            }
        }
    }
    Some([0, 1, 2].map(|i| matrix[i][3] / matrix[i][i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(lambda: f64, sigma: f64, kappa: f64) -> Scaling {
        Scaling { lambda, sigma, kappa, peak: None, peak_interval: None, measured_to: 0.0 }
    }

    const LOADS: [f64; 8] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0];

    fn points(law: &Scaling, loads: &[f64], noise: f64, rng: &mut KeyedRng) -> Vec<Point> {
        let mut measure = |load: f64| law.throughput(load) * (1.0 + noise * (rng.unit() - 0.5));
        loads.iter().map(|&load| Point { load, throughput: measure(load) }).collect()
    }

    #[test]
    fn an_exact_law_is_found_again() {
        let mut rng = KeyedRng::new(1, "law", [0, 0]);
        for (sigma, kappa) in [(0.02, 0.0005), (0.1, 0.0), (0.0, 0.001)] {
            let fitted = Scaling::fit(&points(&law(100.0, sigma, kappa), &LOADS, 0.0, &mut rng)).unwrap();
            let [found, known] = [fitted, law(100.0, sigma, kappa)].map(|law| [law.lambda, law.sigma, law.kappa]);
            assert!(found.iter().zip(known).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {known:?}");
        }
        let linear = Scaling::fit(&points(&law(100.0, 0.0, 0.0), &LOADS, 0.0, &mut rng)).unwrap();
        assert!(linear.peak.is_none_or(|peak| peak > 1e6), "{linear:?}");
    }

    #[test]
    fn the_interval_contains_the_peak_of_most_noisy_stores() {
        let known = law(100.0, 0.03, 0.002);
        let peak = peak(known.lambda, known.sigma, known.kappa).unwrap();
        let mut rng = KeyedRng::new(2, "law", [0, 0]);
        // A search may have as few as five steps.
        for loads in [&LOADS[..], &[1.0, 4.0, 8.0, 16.0, 32.0]] {
            let fits: Vec<Scaling> =
                (0..60).filter_map(|_| Scaling::fit(&points(&known, loads, 0.1, &mut rng))).collect();
            let intervals: Vec<(f64, f64)> = fits.iter().filter_map(|law| law.peak_interval).collect();
            let inside = intervals.iter().filter(|(low, high)| (*low..=*high).contains(&peak)).count();
            assert_eq!(fits.len(), 60);
            assert!(inside * 100 >= intervals.len() * 88, "{inside} of {} with {} steps", intervals.len(), loads.len());
            assert!(intervals.len() >= 30, "{} with {} steps", intervals.len(), loads.len());
        }
    }

    #[test]
    fn too_few_steps_have_no_fit() {
        let point = |load| Point { load, throughput: 10.0 };
        assert_eq!(Scaling::fit(&[point(1.0), point(2.0), point(3.0), point(3.0)]), None);
        assert_eq!(Scaling::fit(&[]), None);
    }
}
