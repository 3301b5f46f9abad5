//! A whole search: one step after the other until the search is over. It never opens a session and writes no file.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::report::SearchReport;
use super::search::{Hold, Next, Outcome, Search};
use super::step::{Alive, Step, Steps};
use super::subject::Subject;
use crate::observer::Observer;
use crate::session::Session;
use crate::trial::TrialError;

/// Factors between which is searched.
pub const RANGE: (f64, f64) = (1.0 / 16.0, 256.0);

/// How to search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// What is scaled.
    pub subject: Subject,
    /// How long a step holds its rate.
    pub hold: Duration,
    /// How long the confirming hold does.
    pub confirm: Duration,
    /// The first factor.
    pub first: f64,
}

/// Searches in a session. `trial` is the number of the last trial; `alive` says whether the ingest worker still runs.
///
/// A stop after the first step ends the search with what was found until then.
///
/// # Errors
/// A drive that could not run, or a stop before any step was done; a store that fails is a result.
pub async fn search(
    plan: Plan,
    session: &Session,
    trial: &mut u32,
    alive: &mut Alive<'_>,
    (observer, stop): (&dyn Observer, &CancellationToken),
) -> Result<SearchReport, TrialError> {
    let steps = Steps { session, subject: plan.subject, observer, stop };
    let mut search = Search::new(plan.first, RANGE);
    let mut taken: Vec<Step> = Vec::new();
    loop {
        match search.next() {
            Next::Done(found) => return Ok(concluded(SearchReport::new(plan.subject, found, taken), observer)),
            Next::Try(..) if taken.last().is_some_and(|step| !step.has_landed) => return Err(TrialError::Unsettled),
            Next::Try(factor, hold) => {
                let length = if hold == Hold::Confirm { plan.confirm } else { plan.hold };
                let purpose = if hold == Hold::Confirm { "confirming" } else { "trying" };
                observer.step_finished(&format!("{}: {purpose} {factor:.2}x", plan.subject));
                let mut tried = Vec::new();
                let decided = Box::pin(steps.decide((factor, hold, length), trial, alive, &mut tried)).await;
                for step in tried.iter().filter(|step| step.is_decisive) {
                    observer.step_finished(&describe(step));
                    search.record(factor, hold, step.outcome);
                }
                taken.extend(tried);
                match decided {
                    Err(TrialError::Stopped) if !taken.is_empty() => {
                        return Ok(concluded(SearchReport::interrupted(plan.subject, taken), observer));
                    }
                    decided => decided?,
                }
            }
        }
    }
}

/// The report of a search that is over, told to the observer.
fn concluded(report: SearchReport, observer: &dyn Observer) -> SearchReport {
    observer.step_finished(&format!("{}: {}", report.subject, report.conclusion()));
    report
}

/// A step in a line.
fn describe(step: &Step) -> String {
    let Step { factor, seconds, questions, records, .. } = step;
    let why = step.reasons.first().map_or_else(String::new, |reason| format!(": {reason}"));
    let rate = format!("{factor:.2}x, held for {seconds:.0} s ({questions:.0} questions/s, {records:.0} records/s),");
    match step.outcome {
        Outcome::Passed => format!("{rate} passed"),
        Outcome::Failed => format!("{rate} failed{why}"),
        Outcome::Undecided => format!("{rate} stays undecided and counts as failed{why}"),
        Outcome::TooFewSamples => format!("{rate} has too few samples to be decided{why}"),
        Outcome::GeneratorGaveWay => format!("{rate} made the generator give way{why}"),
    }
}
