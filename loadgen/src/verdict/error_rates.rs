//! The rates of false verdicts, by simulation: stores exactly at the limit of 95 %, whose slowness comes independently,
//! in stalls, correlated, drifting or from two modes. No verdict may be wrong more often than alpha and a point. It
//! simulates samples and drives no store.
//!
//! `SLUICE_TEST_LONG=1 cargo test --workspace --lib error_rates -- --nocapture` makes the table of `docs/verdict.md`.

use std::{collections::BTreeMap, time::Duration};

use super::forecast::{Behavior, forecast};
use super::hypothesis::Hypothesis;
use super::proportion::Proportion;
use super::reason::Bad;
use crate::binomial::Verdict;
use crate::measure::blocks::Blocks;
use crate::population::rng::KeyedRng;
use crate::question::Question;
use crate::scenario::Scenario;

const P95: Hypothesis = Hypothesis { allowed: 0.05, alpha: 0.05, longest_stall: None };
/// Samples per second: that of `smoke.toml`'s largest SLO.
const RATE: f64 = 62.0;
/// A standard normal variable exceeds this with a probability of 5 %.
const ONE_IN_TWENTY: f64 = 1.644_853_626_951_472_2;

/// How the exceedances of a store come about; 5 % of all samples are some, on average.
#[derive(Debug, Clone, Copy)]
enum Process {
    /// Each sample for itself.
    Independent,
    /// Latencies with an exponential autocorrelation of this time constant, as a share of the drive.
    Correlated(f64),
    /// Everything exceeds during stalls of this length, as a share of the drive, at random times.
    Stalls(f64),
    /// The same, with exponential lengths of this mean.
    RandomStalls(f64),
    /// Stalls of this length, and 1 % of the other samples.
    StallsOverBackground(f64),
    /// From none at the start to 10 % at the end.
    Drift,
    /// A fast mode with 1 % and a slow one with 21 %, which takes a fifth of the time and lasts this long on average.
    TwoModes(f64),
}

impl Process {
    /// The process in the table, over a drive of that many seconds.
    fn describe(self, drive: f64) -> String {
        let seconds = |share: f64| format!("{:.1} s", share * drive);
        match self {
            Self::Independent => "each sample independent".to_owned(),
            Self::Correlated(time) => format!("correlated over {}", seconds(time)),
            Self::Stalls(length) => format!("stalls of {}", seconds(length)),
            Self::RandomStalls(mean) => format!("stalls of {} on average", seconds(mean)),
            Self::StallsOverBackground(length) => format!("stalls of {} and 1 % of the rest", seconds(length)),
            Self::Drift => "drift from 0 to 10 %".to_owned(),
            Self::TwoModes(length) => format!("two modes, the slow one for {}", seconds(length)),
        }
    }
}

/// The state of a process over a drive.
struct Simulation {
    process: Process,
    drive: f64,
    rng: KeyedRng,
    /// Latency of a correlated store, as a standard normal variable.
    latency: f64,
    /// Whether the store is stalled, or in its slow mode.
    is_slow: bool,
    /// When that ends.
    until: f64,
}

impl Simulation {
    fn new(process: Process, drive: f64, run: u64) -> Self {
        let rng = KeyedRng::new(run, "error rates", [drive as u64, 0]);
        let mut simulation = Self { process, drive, rng, latency: 0.0, is_slow: false, until: 0.0 };
        simulation.latency = simulation.rng.normal();
        // Start in the stationary state: a run may begin in the middle of a stall.
        simulation.is_slow = simulation.rng.chance(simulation.share_of_slowness());
        let whole = simulation.draw_length();
        let is_fixed = matches!(process, Process::Stalls(_) | Process::StallsOverBackground(_));
        let left = if simulation.is_slow && is_fixed { simulation.rng.unit() } else { 1.0 };
        simulation.until = whole * left;
        simulation
    }

    fn share_of_slowness(&self) -> f64 {
        match self.process {
            Process::TwoModes(_) => 0.2,
            Process::StallsOverBackground(_) => 0.04 / 0.99,
            _ => 0.05,
        }
    }

    /// Length of the next stretch, slow or not.
    fn draw_length(&mut self) -> f64 {
        let share = self.share_of_slowness();
        let slow = self.drive
            * match self.process {
                Process::Stalls(length)
                | Process::RandomStalls(length)
                | Process::StallsOverBackground(length)
                | Process::TwoModes(length) => length,
                _ => 1.0,
            };
        match (self.is_slow, self.process) {
            (true, Process::Stalls(_) | Process::StallsOverBackground(_)) => slow,
            (true, _) => self.rng.exponential(slow),
            (false, _) => self.rng.exponential(slow * (1.0 - share) / share),
        }
    }

    /// Whether the sample at `at` exceeds; `gap` after the one before it.
    fn exceeds(&mut self, at: f64, gap: f64) -> bool {
        while at >= self.until {
            self.is_slow = !self.is_slow;
            self.until += self.draw_length();
        }
        let probability = match (self.process, self.is_slow) {
            (Process::Independent, _) => 0.05,
            (Process::Drift, _) => 0.1 * at / self.drive,
            (Process::Correlated(time), _) => {
                let kept = (-gap / (time * self.drive)).exp();
                self.latency = kept * self.latency + (1.0 - kept * kept).sqrt() * self.rng.normal();
                return self.latency > ONE_IN_TWENTY;
            }
            (Process::Stalls(_) | Process::RandomStalls(_), is_slow) => return is_slow,
            (Process::StallsOverBackground(_), true) => return true,
            (Process::TwoModes(_), true) => 0.21,
            (Process::StallsOverBackground(_) | Process::TwoModes(_), false) => 0.01,
        };
        self.rng.chance(probability)
    }
}

/// The samples of one run, at equal gaps.
fn simulate(process: Process, rate: f64, drive: Duration, run: u64) -> Blocks {
    simulate_share(process, 1.0, rate, drive, run)
}

/// The same, with only this share of the exceedances.
fn simulate_share(process: Process, share: f64, rate: f64, drive: Duration, run: u64) -> Blocks {
    let (mut blocks, length, gap) = (Blocks::new(drive), drive.as_secs_f64(), 1.0 / rate);
    let mut simulation = Simulation::new(process, length, run);
    let mut at = gap * simulation.rng.unit();
    while at < length {
        let exceeds = simulation.exceeds(at, gap) && simulation.rng.chance(share);
        blocks.record(Duration::from_secs_f64(at), exceeds);
        at += gap;
    }
    blocks
}

/// Shares of false PASSes and FAILs, by the rule and by the sample's own p95.
#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    pass: f64,
    fail: f64,
    naive_pass: f64,
    naive_fail: f64,
}

fn errors(process: Process, drive: Duration, runs: u64) -> Errors {
    let mut errors = Errors::default();
    for run in 0..runs {
        let blocks = simulate(process, RATE, drive, run);
        let share = 1.0 / runs as f64;
        match Proportion::test(&blocks, P95, Bad::Exceedances).verdict {
            Verdict::Pass => errors.pass += share,
            Verdict::Fail => errors.fail += share,
            Verdict::Inconclusive => {}
        }
        let is_below = blocks.exceedances() as f64 <= 0.05 * blocks.samples() as f64;
        *(if is_below { &mut errors.naive_pass } else { &mut errors.naive_fail }) += share;
    }
    errors
}

fn is_long() -> bool {
    std::env::var_os("SLUICE_TEST_LONG").is_some()
}

#[test]
fn false_verdicts_at_the_limit_stay_at_alpha_and_a_point() {
    let runs = if is_long() { 4_000 } else { 400 };
    // In 400 runs, a rate of 5 % is seen as up to 7.7 % (two and a half standard errors).
    let most = if is_long() { 0.06 } else { 0.077 };
    let processes = [
        Process::Independent,
        Process::Correlated(1.0 / 600.0),
        Process::Correlated(1.0 / 120.0),
        Process::Correlated(1.0 / 60.0),
        Process::Stalls(1.0 / 560.0),
        Process::Stalls(1.0 / 112.0),
        Process::Stalls(1.0 / 59.0),
        Process::Stalls(1.0 / 56.0),
        Process::RandomStalls(1.0 / 118.0),
        Process::StallsOverBackground(1.0 / 112.0),
        Process::Drift,
        Process::TwoModes(1.0 / 120.0),
        Process::TwoModes(1.0 / 60.0),
    ];
    println!(
        "| store at the limit | drive | false PASS | false FAIL | p95 alone: PASS | FAIL |\n|---|---|---|---|---|---|"
    );
    for (process, seconds) in over_both_drives(&processes) {
        let Errors { pass, fail, .. } = print_errors(process, seconds, runs);
        assert!(pass <= most && fail <= most, "{process:?} over {seconds} s: {pass} false PASSes, {fail} false FAILs");
    }
}

/// The length of a window, and the number of windows of a drive.
const WINDOW: Duration = Duration::from_mins(1);
const WINDOWS: u64 = 5;

/// The verdict on a drive whose windows `is_slow` behave like `process`, while nothing exceeds in the others.
fn verdict_on_windows(process: Process, run: u64, is_slow: impl Fn(u64) -> bool) -> Verdict {
    let (mut blocks, gap) = (Blocks::for_windows(WINDOW * WINDOWS as u32, WINDOW), 1.0 / RATE);
    for window in 0..WINDOWS {
        let mut simulation = Simulation::new(process, WINDOW.as_secs_f64(), run * WINDOWS + window);
        let mut at = gap * simulation.rng.unit();
        while at < WINDOW.as_secs_f64() {
            let exceeds = simulation.exceeds(at, gap) && is_slow(window);
            blocks.record(WINDOW * window as u32 + Duration::from_secs_f64(at), exceeds);
            at += gap;
        }
    }
    Proportion::test_windows(&blocks, WINDOW, P95, Bad::Exceedances).verdict
}

/// A store that is at the limit in one window only must not pass more often, and one that is in all of them must not fail more often.
#[test]
fn an_slo_in_every_window_is_wrong_no_more_often() {
    let runs = if is_long() { 4_000 } else { 400 };
    let most = if is_long() { 0.06 } else { 0.077 };
    println!("| store at the limit of an SLO in every minute of five | false PASS | false FAIL |\n|---|---|---|");
    for process in [Process::Independent, Process::Correlated(1.0 / 120.0), Process::Stalls(1.0 / 59.0)] {
        let share = |verdict, is_slow: fn(u64) -> bool| {
            let wrong = (0..runs).filter(|&run| verdict_on_windows(process, run, is_slow) == verdict).count();
            wrong as f64 / runs as f64
        };
        let (pass, fail) = (share(Verdict::Pass, |window| window == 2), share(Verdict::Fail, |_| true));
        let process = process.describe(WINDOW.as_secs_f64());
        println!("| {process} | {:.1} % | {:.1} % |", pass * 100.0, fail * 100.0);
        assert!(pass <= most && fail <= most, "{process}: {pass} false PASSes, {fail} false FAILs");
    }
}

/// Another negative control, and the last lines of the table: slowness that is longer than what the verdicts exclude.
#[test]
fn what_a_verdict_does_not_exclude_raises_its_error_rate() {
    let runs = if is_long() { 4_000 } else { 400 };
    for (process, seconds) in
        over_both_drives(&[Process::RandomStalls(1.0 / 56.0), Process::StallsOverBackground(1.0 / 56.0)])
    {
        let Errors { pass, fail, .. } = print_errors(process, seconds, runs);
        assert!(pass > 0.06 && fail <= 0.06, "{process:?} over {seconds} s: {pass} false PASSes, {fail} false FAILs");
    }
}

fn over_both_drives(processes: &[Process]) -> impl Iterator<Item = (Process, u32)> {
    processes.iter().flat_map(|&process| [300, 900].map(|seconds| (process, seconds)))
}

/// Prints a line of the table.
fn print_errors(process: Process, seconds: u32, runs: u64) -> Errors {
    let errors = errors(process, Duration::from_secs(u64::from(seconds)), runs);
    let Errors { pass, fail, naive_pass, naive_fail } = errors;
    let [p, f, np, nf] = [pass, fail, naive_pass, naive_fail].map(|share| format!("{:.1} %", share * 100.0));
    let process = process.describe(f64::from(seconds));
    println!("| {process} | {seconds} s | {p} | {f} | {np} | {nf} |");
    errors
}

/// The negative control: what a run is too short to exclude makes false PASSes, so the simulation can tell.
#[test]
fn stalls_longer_than_a_verdict_excludes_are_beyond_it() {
    let drive = Duration::from_secs(75);
    let mut clean = Blocks::new(drive);
    (0..4_650).for_each(|i| clean.record(drive.mul_f64(f64::from(i) / 4_650.0), false));
    let excluded = Proportion::test(&clean, P95, Bad::Exceedances).excluded.unwrap();
    assert_eq!(excluded.stall, Duration::from_millis(1_284));
    let at = |stall: Duration| errors(Process::Stalls(stall.as_secs_f64() / 75.0), drive, 400).pass;
    let (within, beyond) = (at(excluded.stall), at(Duration::from_secs(10)));
    assert!(within <= 0.077 && beyond > 0.4, "{within} {beyond}");
    // An SLO that must hold for stalls of ten seconds doesn't pass, rather than being wrong.
    let strict = Hypothesis { longest_stall: Some(Duration::from_secs(10)), ..P95 };
    let passes = |run| {
        let blocks = simulate(Process::Stalls(10.0 / 75.0), RATE, drive, run);
        Proportion::test(&blocks, strict, Bad::Exceedances).verdict == Verdict::Pass
    };
    assert_eq!((0..400).filter(|&run| passes(run)).count(), 0);
}

#[test]
fn a_store_well_within_its_limit_passes_and_one_beyond_it_fails() {
    let share = |wrong: f64, verdict: Verdict| {
        let drive = Duration::from_secs(75);
        let run = |run| {
            let (mut blocks, mut rng) = (Blocks::new(drive), KeyedRng::new(run, "power", [0, 0]));
            (0..4_650).for_each(|i| blocks.record(drive.mul_f64(f64::from(i) / 4_650.0), rng.chance(wrong)));
            Proportion::test(&blocks, P95, Bad::Exceedances).verdict == verdict
        };
        (0..200).filter(|&number| run(number)).count()
    };
    for wrong in [0.0, 0.000_2, 0.001, 0.01, 0.03] {
        assert!(share(wrong, Verdict::Pass) >= 195, "a store with {wrong} exceedances must pass");
    }
    assert!(share(0.08, Verdict::Fail) >= 195);
}

/// The shortest drive, to a fifth, with which nine of ten runs pass.
fn time_to_pass(process: impl Fn(f64) -> Process, share: f64) -> f64 {
    let passes = |seconds: f64| {
        let drive = Duration::from_secs_f64(seconds);
        let passed = |run: &u64| {
            let blocks = simulate_share(process(seconds), share, FORECAST_RATE, drive, *run);
            Proportion::test(&blocks, P95, Bad::Exceedances).verdict == Verdict::Pass
        };
        (0..200).filter(passed).count() >= 180
    };
    let drives = std::iter::successors(Some(10.0), |seconds| Some(seconds * 1.2));
    drives.take_while(|&seconds| seconds < 100_000.0).find(|&seconds| passes(seconds)).unwrap()
}

/// Samples per second in the test of forecasts: about that of `smoke.toml`'s dashboards.
const FORECAST_RATE: f64 = 7.0;

/// A process whose slowness lasts equally long in every drive, by the drive's length in seconds.
type ProcessOfDrive = fn(f64) -> Process;

#[test]
fn a_forecast_from_one_run_is_within_a_factor_of_two() {
    let mut scenario = Scenario::parse(include_str!("../../../scenarios/smoke.toml"), "smoke.toml").unwrap();
    scenario.probes = BTreeMap::from([(Question::Search, FORECAST_RATE)]);
    let slo = scenario.slos.iter().find(|slo| slo.name == "search").unwrap();
    let stores: [(&str, ProcessOfDrive, f64); 4] = [
        ("independent, 3 %", |_| Process::Independent, 0.6),
        ("correlated over 1 s, 2.5 %", |drive| Process::Correlated(1.0 / drive), 0.5),
        ("two modes of 3 s, 2 %", |drive| Process::TwoModes(3.0 / drive), 0.4),
        ("stalls of 1 s, 2 %", |drive| Process::Stalls(1.0 / drive), 0.4),
    ];
    // The last value is the share of the allowed exceedances that the store has.
    for (name, process, share) in stores {
        let drive = Duration::from_mins(10);
        let mut forecasts: Vec<f64> = (1_000..1_100)
            .filter_map(|run| {
                let blocks = simulate_share(process(drive.as_secs_f64()), share, FORECAST_RATE, drive, run);
                let effective = blocks.effective(slo.alpha, None);
                let behavior = Behavior::measured(blocks.samples(), effective.samples, effective.exceedances);
                forecast(&scenario, slo, Some(behavior)).time_to_decision.map(|time| time.as_secs_f64())
            })
            .collect();
        forecasts.sort_by(f64::total_cmp);
        let (median, actual) = (forecasts[forecasts.len() / 2], time_to_pass(process, share));
        let close = forecasts.iter().filter(|&&time| (0.5..=2.0).contains(&(time / actual))).count();
        println!("{name}: decided after {actual:.0} s, forecast {median:.0} s, {close} of 100 within a factor of two");
        assert!((0.5..=2.0).contains(&(median / actual)), "{name}: {median} s and {actual} s");
    }
}
