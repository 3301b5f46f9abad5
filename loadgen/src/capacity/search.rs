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
mod tests;
