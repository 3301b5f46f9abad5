//! The result of the searches as data, written and read as JSON, and rendered as tables and as a page. It judges nothing.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::growth::Growth;
use super::monitor::Pressure;
use super::scaling::{Point, Scaling};
use super::search::{Found, Hold, Outcome};
use super::step::Step;
use super::subject::Subject;
use crate::report::Header;

/// Version of the JSON form.
pub const VERSION: u32 = 2;

/// The result of all searches of a scenario.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CapacityReport {
    /// [`VERSION`].
    pub version: u32,
    /// The scenario, the machine and the stores.
    pub run: Header,
    /// Seconds of a step, and of a confirming hold.
    pub hold: (f64, f64),
    /// Growth of the load, if it was stated.
    pub growth: Option<Growth>,
    /// Each search.
    pub searches: Vec<SearchReport>,
}

/// The result of one search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SearchReport {
    /// What was scaled.
    pub subject: Subject,
    /// The result.
    pub found: Found,
    /// Questions and records per second at the confirmed rate.
    pub rates: Option<(f64, f64)>,
    /// SLOs that the lowest failed rate missed.
    pub missed: Vec<String>,
    /// Why it failed, or why the generator gave way.
    pub reasons: Vec<String>,
    /// Resources under pressure at that rate, the most exhausted one first.
    pub gave_way: Vec<Pressure>,
    /// The universal scalability law of the questions; `None` for too few steps.
    pub scaling: Option<Scaling>,
    /// Every step, in order.
    pub steps: Vec<Step>,
}

impl SearchReport {
    pub(super) fn new(subject: Subject, found: Found, steps: Vec<Step>) -> Self {
        let confirmed = steps.iter().rev().find(|step| step.hold == Hold::Confirm && step.outcome == Outcome::Passed);
        let confirmed = confirmed.filter(|_| found.passed().is_some());
        let decisive = decisive(&found, &steps);
        // Where nothing could be decided, nothing gave way, and no law was seen.
        let is_judged = !matches!(found, Found::TooFewSamples { .. });
        let judged = decisive.filter(|_| is_judged);
        // Only the store's own answers follow the law: a step of a generator that gave way does not.
        let points: Vec<Point> = steps
            .iter()
            .filter(|step| step.outcome != Outcome::GeneratorGaveWay)
            .filter_map(|step| step.point)
            .collect();
        Self {
            subject,
            found,
            rates: confirmed.map(|step| (step.questions, step.records)),
            missed: judged.map(|step| step.slos.clone()).unwrap_or_default(),
            reasons: decisive.map(|step| step.reasons.clone()).unwrap_or_default(),
            gave_way: judged.map(|step| step.observed.pressures()).unwrap_or_default(),
            scaling: Scaling::fit(&points).filter(|_| is_judged && subject != Subject::Writes),
            steps,
        }
    }

    /// A search that was interrupted after these steps.
    pub(super) fn interrupted(subject: Subject, steps: Vec<Step>) -> Self {
        let decided = steps.iter().filter(|step| step.is_decisive);
        let with = |wanted: &[Outcome]| {
            let wanted = wanted.to_vec();
            decided.clone().filter(move |step| wanted.contains(&step.outcome)).map(|step| step.factor)
        };
        let passed = with(&[Outcome::Passed]).reduce(f64::max);
        let failed = with(&[Outcome::Failed, Outcome::Undecided]);
        let failed = failed.filter(|&at| passed.is_none_or(|passed| at > passed)).reduce(f64::min);
        Self::new(subject, Found::Interrupted { passed, failed }, steps)
    }

    /// Whether the search was interrupted.
    pub fn is_interrupted(&self) -> bool {
        matches!(self.found, Found::Interrupted { .. })
    }

    /// Whether every record of the last step has landed or been dead-lettered. If not, whatever is driven next finds the rest.
    pub fn has_landed(&self) -> bool {
        self.steps.last().is_none_or(|step| step.has_landed)
    }

    /// The result in a sentence, without its subject.
    pub fn conclusion(&self) -> String {
        let decisive = decisive(&self.found, &self.steps).map(|step| step.outcome);
        let fails = if decisive == Some(Outcome::Undecided) { "stays undecided" } else { "fails" };
        match self.found {
            Found::Limit { passed, failed } => format!("holds at {passed:.2}x and {fails} at {failed:.2}x"),
            Found::NoLimit { passed } => format!("holds at {passed:.2}x, the highest rate that is tried"),
            Found::BelowFirst { failed } => format!("{fails} even at {failed:.2}x"),
            Found::GeneratorGaveWay { passed: Some(passed), at } => {
                format!("holds at {passed:.2}x; the generator gave way at {at:.2}x, which is no limit of a store")
            }
            Found::GeneratorGaveWay { passed: None, at } => {
                format!("the generator gave way even at {at:.2}x, so nothing is known about the stores")
            }
            Found::TooFewSamples { at } => {
                format!("has too few samples to be decided at {at:.2}x; choose a longer --hold and --confirm")
            }
            Found::Interrupted { passed, failed } => {
                let passed = passed.map(|at| format!("passed at {at:.2}x"));
                let failed = failed.map(|at| format!("failed at {at:.2}x"));
                let so_far: Vec<String> = passed.into_iter().chain(failed).collect();
                if so_far.is_empty() {
                    "interrupted before any rate was decided".to_owned()
                } else {
                    format!("interrupted; it has {}, unconfirmed", so_far.join(" and "))
                }
            }
        }
    }

    /// The time until the load has grown to the confirmed rate; `None` without a confirmed rate, or if it takes more than a
    /// century.
    pub fn headroom(&self, growth: Growth) -> Option<Duration> {
        growth.until(self.found.passed()?)
    }
}

/// The step that bounds what was found: of the lowest rate that did not hold above the confirmed one, the last step.
fn decisive<'a>(found: &Found, steps: &'a [Step]) -> Option<&'a Step> {
    let bounds = |step: &&Step| {
        let is_wanted = match found {
            Found::GeneratorGaveWay { .. } => step.outcome == Outcome::GeneratorGaveWay,
            Found::TooFewSamples { .. } => step.outcome == Outcome::TooFewSamples,
            _ => matches!(step.outcome, Outcome::Failed | Outcome::Undecided),
        };
        is_wanted && step.is_decisive && found.passed().is_none_or(|passed| step.factor > passed)
    };
    steps.iter().rev().filter(bounds).min_by(|one, other| one.factor.total_cmp(&other.factor))
}

impl CapacityReport {
    /// Creates a report.
    pub fn new(run: Header, hold: (Duration, Duration), growth: Option<Growth>, searches: Vec<SearchReport>) -> Self {
        Self { version: VERSION, run, hold: (hold.0.as_secs_f64(), hold.1.as_secs_f64()), growth, searches }
    }

    /// The search of the mix, or the first one.
    pub fn main_search(&self) -> Option<&SearchReport> {
        self.searches.iter().find(|search| search.subject == Subject::Mix).or_else(|| self.searches.first())
    }

    /// The search with the least headroom except the mix: what gives way first when it grows alone.
    pub fn first_to_give_way(&self) -> Option<&SearchReport> {
        let found = |search: &SearchReport| match search.found {
            Found::Limit { passed, .. } => Some(passed),
            Found::BelowFirst { failed } => Some(failed),
            Found::NoLimit { .. }
            | Found::GeneratorGaveWay { .. }
            | Found::TooFewSamples { .. }
            | Found::Interrupted { .. } => None,
        };
        let parts = self.searches.iter().filter(|search| search.subject != Subject::Mix);
        let limited = parts.filter_map(|search| Some((found(search)?, search)));
        limited.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, search)| search)
    }

    /// The day on which the headroom of a search ends.
    pub fn ends_on(&self, search: &SearchReport) -> Option<NaiveDate> {
        let headroom = chrono::TimeDelta::from_std(search.headroom(self.growth?)?).ok()?;
        let day: DateTime<Utc> = self.run.started_at.checked_add_signed(headroom)?;
        Some(day.date_naive())
    }

    /// The JSON form.
    ///
    /// # Errors
    /// None for reports that were made by this program.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The tables, at most 80 columns wide.
    pub fn table(&self) -> String {
        super::table::render(self)
    }

    /// The page.
    pub fn html(&self) -> String {
        super::html::page(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::monitor::Observed;

    fn step(factor: f64, outcome: Outcome, is_decisive: bool) -> Step {
        Step {
            trial: 1,
            factor,
            hold: Hold::Step,
            seconds: 60.0,
            outcome,
            is_decisive,
            has_landed: true,
            reasons: vec![format!("{outcome:?} at {factor}")],
            slos: vec!["lookup".to_owned()],
            questions: 60.0,
            records: 100.0,
            p95_us: Vec::new(),
            point: None,
            observed: Observed::default(),
        }
    }

    #[test]
    fn a_rate_that_was_never_decided_is_not_said_to_fail() {
        let found = Found::Limit { passed: 2.0, failed: 2.1 };
        let search = |last| {
            let undecided = [step(2.1, Outcome::Undecided, false), step(2.1, last, true)];
            let steps = [step(4.0, Outcome::Failed, true), step(2.0, Outcome::Passed, true)].into_iter();
            SearchReport::new(Subject::Mix, found, steps.chain(undecided).collect())
        };
        insta::assert_snapshot!(search(Outcome::Undecided).conclusion(), @"holds at 2.00x and stays undecided at 2.10x");
        insta::assert_snapshot!(search(Outcome::Failed).conclusion(), @"holds at 2.00x and fails at 2.10x");
        assert_eq!(search(Outcome::Failed).reasons, ["Failed at 2.1"]);
    }

    #[test]
    fn where_samples_are_missing_nothing_gave_way() {
        let steps = vec![step(1.0, Outcome::TooFewSamples, true)];
        let search = SearchReport::new(Subject::Mix, Found::TooFewSamples { at: 1.0 }, steps);
        insta::assert_snapshot!(search.conclusion(), @"has too few samples to be decided at 1.00x; choose a longer --hold and --confirm");
        assert_eq!((search.missed, search.reasons), (Vec::new(), vec!["TooFewSamples at 1".to_owned()]));
    }

    #[test]
    fn an_interrupted_search_says_what_it_has_seen_and_confirms_nothing() {
        let interrupted = |steps: &[(f64, Outcome)]| {
            let steps = steps.iter().map(|&(factor, outcome)| step(factor, outcome, true)).collect();
            SearchReport::interrupted(Subject::Mix, steps)
        };
        let both = [(2.0, Outcome::Passed), (4.0, Outcome::Failed), (2.83, Outcome::Undecided), (1.0, Outcome::Failed)];
        let search = interrupted(&both);
        insta::assert_snapshot!(search.conclusion(), @"interrupted; it has passed at 2.00x and failed at 2.83x, unconfirmed");
        assert_eq!((search.found.passed(), search.rates, search.is_interrupted()), (None, None, true));
        let conclusion = |steps| interrupted(steps).conclusion();
        insta::assert_snapshot!(conclusion(&both[..1]), @"interrupted; it has passed at 2.00x, unconfirmed");
        insta::assert_snapshot!(conclusion(&[(2.0, Outcome::GeneratorGaveWay)]), @"interrupted before any rate was decided");
    }

    #[test]
    fn a_longer_hold_that_the_generator_could_not_keep_up_decides_nothing() {
        let steps = vec![step(0.0625, Outcome::Undecided, true), step(0.0625, Outcome::GeneratorGaveWay, false)];
        let search = SearchReport::new(Subject::Mix, Found::BelowFirst { failed: 0.0625 }, steps);
        insta::assert_snapshot!(search.conclusion(), @"stays undecided even at 0.06x");
        assert_eq!(search.reasons, ["Undecided at 0.0625"]);
    }
}
