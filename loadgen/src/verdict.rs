//! PASS, FAIL, INCONCLUSIVE or INVALID: what a run proves about each SLO and as a whole.
//! The verdict never reads a store or a clock; the statistics are explained in `docs/verdict.md`.

mod availability;
mod excluded;
mod findings;
mod forecast;
mod holm;
mod hypothesis;
mod latency;
mod pools;
mod proportion;
mod reason;
mod slo;
mod validity;
mod warnings;

pub use crate::binomial::Verdict;
pub use availability::{Availability, Subject};
pub use excluded::Excluded;
pub use findings::{Findings, Overall};
pub(crate) use findings::{interruption, is_valid};
pub use forecast::{Behavior, Forecast, forecast};
pub(crate) use holm::step_down;
pub use latency::Latency;
pub use proportion::Proportion;
pub use slo::{Judged, failures, wrong_without_slo};
pub use validity::{Validity, is_short_of_writers, validity};
pub use warnings::warnings;

use crate::measure::Measurements;
use crate::scenario::Scenario;

#[cfg(test)]
mod error_rates;
#[cfg(test)]
mod tests;

/// Judges every SLO of a scenario, and the availability of every store, as one family of tests.
pub fn judge(scenario: &Scenario, measured: &Measurements) -> (Vec<Judged>, Vec<Availability>) {
    let mut slos: Vec<Judged> = measured.slos.iter().map(|one| slo::test(scenario, one)).collect();
    let mut availability = availability::test(measured, scenario.availability);
    let slo_tests = slos.iter_mut().map(|one| (one.slo.alpha, &mut one.test));
    let availability_tests = availability.iter_mut().map(|one| (crate::scenario::Availability::ALPHA, &mut one.test));
    holm::correct(&mut slo_tests.chain(availability_tests).collect::<Vec<_>>());
    for judged in &mut slos {
        slo::apply_rules(judged, &measured.questions);
    }
    (slos, availability)
}
