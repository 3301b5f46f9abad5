//! Which rate comes next, from the outcomes so far. Rates are factors on those of the scenario. It never drives anything
//! and knows no clock.
//!
//! The factor doubles until a step fails (or halves until one passes); then the gap is bisected until it is within the
//! resolution. The highest factor that passed is confirmed by a longer hold, and the lowest one that failed is tried once
//! more, since a single FAIL may be a disturbance. What is found has passed for the longer hold, and failed twice within the
//! resolution above it; after a confirming hold that failed, it has failed that hold once, a step back above it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The ratio of the lowest failed factor to the highest passed one at which the search ends.
pub const RESOLUTION: f64 = 1.05;
/// The ratio of a factor to the next one while nothing has failed.
const GROWTH: f64 = 2.0;
/// What is left of a factor after its confirming hold has failed.
const STEP_BACK: f64 = 0.92;
/// Steps back after which the search gives up.
const MAX_STEPS_BACK: u32 = 12;

/// What a step says about its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every SLO holds.
    Passed,
    /// Something failed.
    Failed,
    /// Even the longest step decided nothing: the rate is so close to the limit that it counts as failed.
    Undecided,
    /// Nothing was slow, and even the longest step has too few samples to show it. A lower rate has no more.
    TooFewSamples,
    /// The generator gave way; nothing is known about the stores.
    GeneratorGaveWay,
}

/// How long a step holds its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The length of a step.
    Step,
    /// The longer one that confirms a rate.
    Confirm,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// Drive that factor for that long.
    Try(f64, Hold),
    /// The search is over.
    Done(Found),
}

/// The result of a search; factors are those on the scenario's rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The confirmed factor, and the lowest one that failed.
    Limit {
        /// Passed, for the longer hold as well.
        passed: f64,
        /// Failed, when tried again as well.
        failed: f64,
    },
    /// The highest factor that was to be tried has passed.
    NoLimit {
        /// The confirmed factor.
        passed: f64,
    },
    /// Even the lowest factor failed.
    BelowFirst {
        /// The lowest factor that was tried.
        failed: f64,
    },
    /// The generator gave way before the stores did.
    GeneratorGaveWay {
        /// The highest confirmed factor, if any.
        passed: Option<f64>,
        /// The factor at which the generator gave way twice.
        at: f64,
    },
    /// A rate can't be decided in the time for which it was held, and neither can a lower one.
    TooFewSamples {
        /// The factor.
        at: f64,
    },
    /// The search was interrupted; neither factor is confirmed.
    Interrupted {
        /// The highest factor that has passed, if any.
        passed: Option<f64>,
        /// The lowest factor above it that has failed, if any.
        failed: Option<f64>,
    },
}

impl Found {
    /// The confirmed factor.
    pub fn passed(&self) -> Option<f64> {
        match *self {
            Self::Limit { passed, .. } | Self::NoLimit { passed } => Some(passed),
            Self::GeneratorGaveWay { passed, .. } => passed,
            Self::BelowFirst { .. } | Self::TooFewSamples { .. } | Self::Interrupted { .. } => None,
        }
    }
}

/// A search in progress.
#[derive(Debug, Clone)]
pub struct Search {
    first: f64,
    range: (f64, f64),
    /// The highest factor that passed below every failed one.
    passed: Option<f64>,
    /// Whether `passed` has passed the longer hold.
    is_confirmed: bool,
    /// Factors that failed, highest first, each with whether it was tried again.
    failed: Vec<(f64, bool)>,
    /// The lowest factor at which the generator gave way, in which hold, and whether that was tried again.
    gave_way: Option<(f64, Hold, bool)>,
    steps_back: u32,
    /// The factor that had too few samples, which ends the search.
    too_few_samples: Option<f64>,
}

impl Search {
    /// A search that starts at `first` and stays within `range`.
    pub fn new(first: f64, range: (f64, f64)) -> Self {
        Self {
            first: first.clamp(range.0, range.1),
            range,
            passed: None,
            is_confirmed: false,
            failed: Vec::new(),
            gave_way: None,
            steps_back: 0,
            too_few_samples: None,
        }
    }

    /// What to do next.
    pub fn next(&self) -> Next {
        if let Some(at) = self.too_few_samples {
            return Next::Done(Found::TooFewSamples { at });
        }
        if let Some((at, hold, false)) = self.gave_way {
            return Next::Try(at, hold);
        }
        // A rate that the generator can't offer bounds the search as a failed one does.
        let generator = self.gave_way.map(|(at, ..)| at);
        let lowest_failed = self.failed.last().copied();
        let upper = generator.into_iter().chain(lowest_failed.map(|(at, _)| at)).reduce(f64::min);
        match (self.passed, upper) {
            (None, None) => Next::Try(self.first, Hold::Step),
            (None, Some(upper)) => self.below(upper),
            (Some(passed), None) if passed >= self.range.1 => self.confirmed(passed, Found::NoLimit { passed }),
            (Some(passed), None) => Next::Try((passed * GROWTH).min(self.range.1), Hold::Step),
            // Between a rate that passed and one that the generator can't offer, a store may still fail.
            (Some(passed), Some(upper)) if upper / passed > RESOLUTION && self.steps_back == 0 => {
                Next::Try((upper * passed).sqrt(), Hold::Step)
            }
            (Some(passed), Some(upper)) if generator == Some(upper) => {
                self.confirmed(passed, Found::GeneratorGaveWay { passed: Some(passed), at: upper })
            }
            (Some(passed), Some(upper)) => match self.confirmed(passed, Found::Limit { passed, failed: upper }) {
                // A disturbance may have failed it.
                Next::Done(_) if lowest_failed.is_some_and(|(_, again)| !again) => Next::Try(upper, Hold::Step),
                next => next,
            },
        }
    }

    /// Records the outcome of [`Search::next`].
    pub fn record(&mut self, factor: f64, hold: Hold, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.pass(factor, hold),
            Outcome::Failed | Outcome::Undecided => self.fail(factor, hold),
            Outcome::TooFewSamples => self.too_few_samples = Some(factor),
            Outcome::GeneratorGaveWay => self.give_way(factor, hold),
        }
    }

    fn give_way(&mut self, factor: f64, hold: Hold) {
        let again = self.gave_way.is_some_and(|(at, before, _)| before == hold && is_same(at, factor));
        self.gave_way = Some((factor, hold, again));
        match hold {
            // The generator can't offer the rate for that long: the rate just below is confirmed next.
            Hold::Confirm if again => self.step_back(factor),
            Hold::Step if self.passed.is_some_and(|passed| is_same(passed, factor)) => self.passed = None,
            Hold::Confirm | Hold::Step => {}
        }
    }

    fn step_back(&mut self, factor: f64) {
        self.steps_back += 1;
        self.passed = Some(factor * STEP_BACK);
        self.is_confirmed = false;
    }

    fn pass(&mut self, factor: f64, hold: Hold) {
        // What passes after all was disturbed before.
        self.failed.retain(|&(at, _)| at > factor && !is_same(at, factor));
        self.gave_way = self.gave_way.filter(|&(at, ..)| at > factor && !is_same(at, factor));
        let is_same_factor = self.passed.is_some_and(|passed| is_same(passed, factor));
        self.is_confirmed = hold == Hold::Confirm || (self.is_confirmed && is_same_factor);
        self.passed = Some(self.passed.map_or(factor, |passed| passed.max(factor)));
    }

    fn fail(&mut self, factor: f64, hold: Hold) {
        self.gave_way = self.gave_way.filter(|&(at, ..)| !is_same(at, factor));
        match self.failed.iter_mut().find(|(at, _)| is_same(*at, factor)) {
            Some((_, again)) => *again = true,
            None => self.failed.push((factor, hold == Hold::Confirm)),
        }
        self.failed.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        if hold == Hold::Confirm {
            // The rate just below is confirmed next; the gap above it is already known.
            self.step_back(factor);
        }
    }

    fn below(&self, upper: f64) -> Next {
        if upper <= self.range.0 * (1.0 + f64::EPSILON) {
            let gave_way = self.gave_way.filter(|(at, ..)| is_same(*at, upper));
            return Next::Done(match gave_way {
                Some((at, ..)) => Found::GeneratorGaveWay { passed: None, at },
                None => Found::BelowFirst { failed: upper },
            });
        }
        Next::Try((upper / GROWTH).max(self.range.0), Hold::Step)
    }

    /// Confirms a factor before the search ends with `found`.
    fn confirmed(&self, passed: f64, found: Found) -> Next {
        if self.steps_back > MAX_STEPS_BACK || passed < self.range.0 * STEP_BACK {
            let at = passed / STEP_BACK;
            let is_generators = self.gave_way.is_some_and(|(gave_way, ..)| is_same(gave_way, at));
            let generators = Found::GeneratorGaveWay { passed: None, at };
            return Next::Done(if is_generators { generators } else { Found::BelowFirst { failed: at } });
        }
        if self.is_confirmed { Next::Done(found) } else { Next::Try(passed, Hold::Confirm) }
    }
}

fn is_same(one: f64, other: f64) -> bool {
    (one / other - 1.0).abs() < 1e-9
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::population::rng::KeyedRng;

    /// Most steps of a search.
    const MOST: usize = 60;

    /// Searches on a store whose outcome at a factor is drawn; returns the result and the number of steps.
    fn search(mut outcome: impl FnMut(f64, Hold) -> Outcome) -> (Found, usize) {
        let mut search = Search::new(1.0, (1.0 / 16.0, 64.0));
        for step in 0..MOST {
            match search.next() {
                Next::Done(found) => return (found, step),
                Next::Try(factor, hold) => search.record(factor, hold, outcome(factor, hold)),
            }
        }
        panic!("the search does not end: {search:?}");
    }

    /// A store with a limit: the closer a factor is to it, the less certain the outcome. Disturbances fail one step in
    /// thirty at any rate, and a longer hold is more certain.
    fn noisy(limit: f64, rng: &mut KeyedRng) -> impl FnMut(f64, Hold) -> Outcome {
        move |factor, hold| {
            let noise = if hold == Hold::Confirm { 0.02 } else { 0.04 };
            let distance = (factor / limit).ln() + noise * (rng.unit() + rng.unit() + rng.unit() - 1.5);
            if rng.chance(1.0 / 30.0) || distance > 0.01 {
                Outcome::Failed
            } else if distance > -0.01 {
                Outcome::Undecided
            } else {
                Outcome::Passed
            }
        }
    }

    #[test]
    fn the_limit_is_found_within_15_percent_in_95_percent_of_runs() {
        let mut rng = KeyedRng::new(5, "capacity", [0, 0]);
        let (mut close, mut steps) = (0, 0);
        for _ in 0..2_000 {
            let limit = 0.1 * 500_f64.powf(rng.unit());
            let (found, taken) = search(noisy(limit, &mut rng));
            steps += taken;
            close += u32::from(found.passed().is_some_and(|passed| (passed / limit).ln().abs() < 0.15));
        }
        assert!(close >= 1_900, "{close} of 2,000");
        assert!(steps / 2_000 <= 16, "{} steps on average", steps / 2_000);
    }

    #[test]
    fn without_the_second_try_disturbances_are_taken_for_limits() {
        // The control: the first FAIL at a factor is final.
        let mut rng = KeyedRng::new(5, "capacity", [0, 0]);
        let mut close = 0;
        for _ in 0..2_000 {
            let limit = 0.1 * 500_f64.powf(rng.unit());
            let mut outcome = noisy(limit, &mut rng);
            let mut failed: Vec<f64> = Vec::new();
            let (found, _) = search(|factor, hold| {
                let known = failed.iter().any(|&at| is_same(at, factor));
                let outcome = if known { Outcome::Failed } else { outcome(factor, hold) };
                failed.extend((outcome == Outcome::Failed).then_some(factor));
                outcome
            });
            close += u32::from(found.passed().is_some_and(|passed| (passed / limit).ln().abs() < 0.15));
        }
        assert!(close < 1_900, "{close} of 2,000");
    }

    #[test]
    fn a_store_without_a_limit_is_said_to_have_none() {
        assert_eq!(search(|_, _| Outcome::Passed), (Found::NoLimit { passed: 64.0 }, 8));
    }

    #[test]
    fn a_limit_below_the_first_step_is_found_and_one_below_the_range_is_said() {
        let limit =
            |limit: f64| search(move |factor, _| if factor <= limit { Outcome::Passed } else { Outcome::Failed }).0;
        let Found::Limit { passed, failed } = limit(0.3) else { panic!("{:?}", limit(0.3)) };
        assert!(passed <= 0.3 && failed > 0.3 && failed / passed <= RESOLUTION);
        assert_eq!(limit(0.01), Found::BelowFirst { failed: 1.0 / 16.0 });
    }

    #[test]
    fn a_rate_with_too_few_samples_ends_the_search_at_once() {
        assert_eq!(search(|_, _| Outcome::TooFewSamples), (Found::TooFewSamples { at: 1.0 }, 1));
        let below = search(|factor, _| if factor >= 1.0 { Outcome::Failed } else { Outcome::TooFewSamples });
        assert_eq!(below, (Found::TooFewSamples { at: 0.5 }, 2));
    }

    #[test]
    fn a_generator_that_gives_way_twice_ends_the_search() {
        let found = search(|factor, _| if factor > 3.0 { Outcome::GeneratorGaveWay } else { Outcome::Passed }).0;
        let Found::GeneratorGaveWay { passed: Some(passed), at } = found else { panic!("{found:?}") };
        assert!(passed <= 3.0 && at > 3.0 && at / passed <= RESOLUTION, "{found:?}");
        let never = search(|_, _| Outcome::GeneratorGaveWay).0;
        assert_eq!(never, Found::GeneratorGaveWay { passed: None, at: 1.0 / 16.0 });
        let mut first = true;
        let once = search(|factor, _| {
            let gave_way = factor > 3.0 && std::mem::take(&mut first);
            if gave_way { Outcome::GeneratorGaveWay } else { Outcome::Passed }
        });
        assert_eq!(once.0, Found::NoLimit { passed: 64.0 }, "a disturbance of the generator is not its limit");
    }

    #[test]
    fn a_store_that_fails_below_the_limit_of_the_generator_is_found() {
        let (found, _) = search(|factor, _| match factor {
            ..=2.5 => Outcome::Passed,
            ..=3.8 => Outcome::Failed,
            _ => Outcome::GeneratorGaveWay,
        });
        let Found::Limit { passed, failed } = found else { panic!("{found:?}") };
        assert!(passed <= 2.5 && failed > 2.5 && failed / passed <= RESOLUTION, "{found:?}");
    }

    #[test]
    fn a_generator_that_gives_way_only_in_longer_holds_ends_the_search() {
        let never = search(|factor, hold| match hold {
            Hold::Confirm => Outcome::GeneratorGaveWay,
            Hold::Step if factor <= 2.0 => Outcome::Passed,
            Hold::Step => Outcome::Failed,
        });
        assert!(matches!(never.0, Found::GeneratorGaveWay { passed: None, .. }), "{never:?}");
        let below = search(|factor, hold| match hold {
            Hold::Confirm if factor > 1.5 => Outcome::GeneratorGaveWay,
            _ if factor <= 2.0 => Outcome::Passed,
            _ => Outcome::Failed,
        });
        let passed = below.0.passed().unwrap();
        assert!((1.35..=1.5).contains(&passed), "{below:?}");
    }

    #[test]
    fn a_rate_that_fails_its_longer_hold_is_not_the_result() {
        let (found, _) = search(|factor, hold| {
            let limit = if hold == Hold::Confirm { 2.0 } else { 2.5 };
            if factor <= limit { Outcome::Passed } else { Outcome::Failed }
        });
        let passed = found.passed().unwrap();
        assert!((1.75..=2.0).contains(&passed), "{found:?}");
    }

    proptest! {
        #[test]
        fn without_noise_the_limit_is_within_the_resolution(limit in 0.07_f64..60.0) {
            let (found, steps) = search(|factor, _| if factor <= limit { Outcome::Passed } else { Outcome::Failed });
            let Found::Limit { passed, failed } = found else { panic!("{found:?}") };
            prop_assert!(passed <= limit && limit < failed && failed / passed <= RESOLUTION);
            prop_assert!(steps <= 16, "{} steps", steps);
        }

        #[test]
        fn whatever_happens_the_search_ends(seed in any::<u64>()) {
            let mut rng = KeyedRng::new(seed, "capacity", [1, 0]);
            let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::Undecided, Outcome::GeneratorGaveWay];
            let mut search = Search::new(1.0, (1.0 / 16.0, 64.0));
            let ended = (0..400).any(|_| match search.next() {
                Next::Done(_) => true,
                Next::Try(factor, hold) => {
                    search.record(factor, hold, rng.pick(&outcomes));
                    false
                }
            });
            prop_assert!(ended);
        }
    }
}
