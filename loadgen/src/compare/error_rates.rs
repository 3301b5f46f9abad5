//! How often a comparison is wrong, and how often it finds what has changed, by simulation: runs of a store whose latencies
//! depend on each other within a run, and which differ from run to run. Beside it the plain rule "some p95 is more than 10 %
//! higher". No store is driven.
//!
//! `SLUICE_TEST_LONG=1 cargo test --workspace --lib compare::error_rates -- --nocapture` makes the table of `docs/compare.md`.

use std::time::Duration;

use super::effect::effect;
use super::judged::{Change, judge};
use super::observed::{ALPHA, Observed, Quantity, percentile, share};
use crate::measure::blocks::Blocks;
use crate::measure::{Backing, DurationHistogram, Outcome, Sample, Series};
use crate::population::rng::KeyedRng;
use crate::report::SeriesReport;

/// Questions of a run; each is a quantity of its own.
const QUESTIONS: usize = 4;
/// Samples of a question, five a second.
const SAMPLES: u64 = 300;
/// Length of a drive.
const DRIVE: Duration = Duration::from_mins(1);
/// What about 5 % of the samples exceed.
const LIMIT: Duration = Duration::from_micros(19_300);
/// Time between two samples, in seconds.
const GAP: f64 = 0.2;
/// Standard deviation of the logarithm of a latency within a run.
const WITHIN: f64 = 0.4;
/// The margin below which nothing counts as worse.
const MARGIN: f64 = 0.1;

/// A pair of sides.
#[derive(Debug, Clone, Copy)]
struct Cell {
    runs: [u64; 2],
    /// Standard deviation between runs, of the logarithm.
    between: f64,
    /// Correlation time within a run, in seconds.
    correlated: f64,
}

/// The rates of one cell.
#[derive(Debug, Clone, Copy)]
struct Rates {
    worse: f64,
    no_worse: f64,
    plain: f64,
}

/// What one run measured of each question: its percentiles, and the share above [`LIMIT`].
fn run(cell: Cell, slowdown: f64, rng: &mut KeyedRng) -> Vec<([Observed; 3], Observed)> {
    let of_run = rng.normal();
    let question = |index: usize| {
        let slower = if index == 0 { slowdown } else { 0.0 };
        let shift = cell.between * (of_run + rng.normal()) / 2_f64.sqrt() + slower.ln_1p();
        let kept = (-GAP / cell.correlated).exp();
        let (mut histogram, mut series, mut blocks) =
            (DurationHistogram::default(), Series::new(DRIVE), Blocks::new(DRIVE));
        let mut state = rng.normal();
        for sample in 0..SAMPLES {
            state = kept * state + (1.0 - kept * kept).sqrt() * rng.normal();
            let latency = Duration::from_secs_f64(0.01 * (shift + WITHIN * state).exp());
            let intended = Duration::from_secs_f64(sample as f64 * GAP);
            let (lag, waited) = Default::default();
            histogram.record(latency);
            series.record(Sample {
                intended,
                lag,
                latency,
                waited,
                outcome: Outcome::Correct,
                backing: Backing::NotAsked,
            });
            blocks.record(intended, latency > LIMIT);
        }
        let series = SeriesReport::from(&series);
        let observe = |(_, quantile)| percentile(&histogram, &series, quantile).unwrap();
        let effective = blocks.effective(ALPHA, None).samples;
        (Quantity::PERCENTILES.map(observe), share(blocks.exceedances(), SAMPLES, effective).unwrap())
    };
    (0..QUESTIONS).map(question).collect()
}

/// The verdicts of one comparison, and that of the plain rule.
fn compared(cell: Cell, slowdown: f64, seed: u64) -> (Vec<Change>, bool) {
    let mut rng = KeyedRng::new(seed, "compare", cell.runs);
    let mut side = |slowdown, count| (0..count).map(|_| run(cell, slowdown, &mut rng)).collect::<Vec<_>>();
    let [a, b] = [side(0.0, cell.runs[0]), side(slowdown, cell.runs[1])];
    let mut effects = Vec::new();
    let mut plain = false;
    for question in 0..QUESTIONS {
        for (percentile, (quantity, _)) in Quantity::PERCENTILES.into_iter().enumerate().take(2) {
            let of = |side: &[Vec<([Observed; 3], Observed)>]| {
                side.iter().map(|run| run[question].0[percentile]).collect::<Vec<_>>()
            };
            let effect = effect(quantity, &of(&a), &of(&b)).unwrap();
            plain |= percentile == 1 && effect.estimate > MARGIN.ln_1p();
            effects.push((effect, MARGIN.ln_1p()));
        }
        let of = |side: &[Vec<([Observed; 3], Observed)>]| side.iter().map(|run| run[question].1).collect::<Vec<_>>();
        effects.push((effect(Quantity::Exceeding, &of(&a), &of(&b)).unwrap(), MARGIN * 0.05));
    }
    (judge(&effects), plain)
}

fn rates(cell: Cell, slowdown: f64, repeats: u64) -> Rates {
    let (mut worse, mut no_worse, mut by_plain) = (0_u64, 0_u64, 0_u64);
    for seed in 0..repeats {
        let (changes, plain) = compared(cell, slowdown, seed);
        let found = changes.contains(&Change::Worse);
        let decided = !found && !changes[..2].contains(&Change::Undecided);
        worse += u64::from(found);
        no_worse += u64::from(decided);
        by_plain += u64::from(plain);
    }
    let share = |count: u64| count as f64 / repeats as f64;
    Rates { worse: share(worse), no_worse: share(no_worse), plain: share(by_plain) }
}

fn is_long() -> bool {
    std::env::var_os("SLUICE_TEST_LONG").is_some()
}

fn cells() -> Vec<Cell> {
    let runs = [[1, 1], [5, 1], [3, 3], [5, 5]];
    let noises = [(0.03, 0.05), (0.05, 1.0)];
    let cell = |runs| noises.map(|(between, correlated)| Cell { runs, between, correlated });
    runs.into_iter().flat_map(cell).collect()
}

fn line(cell: Cell, unchanged: Rates, slower: Rates) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let Cell { runs: [a, b], between, correlated } = cell;
    format!(
        "| {a} and {b} | {:.0} % | {correlated} s | {} | {} | {} | {} |",
        between * 100.0,
        percent(unchanged.worse),
        percent(unchanged.plain),
        percent(slower.worse),
        percent(slower.no_worse),
    )
}

#[test]
fn what_did_not_change_is_rarely_called_worse_and_a_slowdown_is_found() {
    let repeats = if is_long() { 500 } else { 60 };
    for cell in cells() {
        let (unchanged, slower) = (rates(cell, 0.0, repeats), rates(cell, 0.2, repeats));
        println!("{}", line(cell, unchanged, slower));
        let limit = ALPHA + 0.01;
        let chance = 2.5 * (limit * (1.0 - limit) / repeats as f64).sqrt();
        assert!(unchanged.worse <= limit + chance, "{cell:?} {unchanged:?}");
        assert!(slower.no_worse <= limit + chance, "{cell:?} {slower:?}");
        if cell.runs == [5, 5] && cell.between < 0.04 {
            assert!(slower.worse >= 0.9, "{cell:?} {slower:?}");
        }
    }
}

/// The negative control: the test that is used here sees that the plain rule is wrong.
#[test]
fn the_plain_rule_calls_unchanged_runs_worse() {
    let cell = Cell { runs: [1, 1], between: 0.05, correlated: 1.0 };
    assert!(rates(cell, 0.0, 60).plain > 0.2);
}
