//! SLOs, and an availability, that no run of a scenario can pass, whatever the stores do: too few samples, too low a rate, or a drive
//! that is too short. It judges nothing.

use std::time::Duration;

use super::raw;
use super::slo::Slo;
use super::source::Source;
use super::types::{Availability, Scenario, Undecided};
use super::units::{brief_duration, exact_duration};
use crate::binomial::min_samples;

/// Keeps a mistake for each SLO that can never pass.
pub(super) fn decidable(scenario: &Scenario, raw: &[raw::Slo], source: &Source) {
    for slo in &scenario.slos {
        if let Some((at, NeverPasses { reason, remedy })) =
            raw.iter().find(|raw| *raw.name.as_ref() == slo.name).zip(never_passes(scenario, slo))
        {
            source.keep_all([source.wrong(&at.name, "slo", format!("{reason}; {remedy}"))]);
        }
    }
}

/// Keeps a mistake for an availability that every PASS needs and that can never be decided: the drive is too short to exclude the
/// outage. That too few operations are planned is only probable, and a warning.
pub(super) fn availability_decidable(scenario: &Scenario, raw: Option<&raw::Availability>, source: &Source) {
    let Availability { objective, undecided, .. } = scenario.availability;
    let needed = min_samples(1.0 - objective, Availability::ALPHA);
    let longest = raw.and_then(|raw| raw.longest_outage.as_ref()).zip(scenario.availability.longest_outage);
    let too_long =
        |(_, outage): &(_, Duration)| undecided == Undecided::Block && *outage * needed as u32 > scenario.duration;
    if let Some((at, outage)) = longest.filter(too_long) {
        let takes = brief_duration(outage * needed as u32);
        let [outage, drive] = [outage, scenario.duration].map(exact_duration);
        let message = format!(
            "no run can pass: to exclude outages of {outage} takes a drive of {takes}, and this one has {drive}; lower it, or write \
             `availability.undecided = \"allow\"`"
        );
        source.keep_all([source.wrong(at, "availability.longest_outage", message)]);
    }
}

/// Why no run can pass an SLO, and what to change in the scenario.
pub(crate) struct NeverPasses {
    pub(crate) reason: String,
    remedy: String,
}

/// Whether no run of a scenario can pass an SLO of it.
pub(crate) fn never_passes(scenario: &Scenario, slo: &Slo) -> Option<NeverPasses> {
    let name = &slo.name;
    let produced = scenario.planned_event_rate(slo);
    if let Some(least) = slo.at_least.filter(|&least| produced < least) {
        let reason =
            format!("\"{name}\" can never pass: about {produced:.0} events/s are planned, and it demands {least:.0}");
        return Some(NeverPasses {
            reason,
            remedy: "raise `drive.communications`, or lower `slo.at_least`".to_owned(),
        });
    }
    let judged = scenario.judged_over(slo);
    let needed = min_samples(slo.allowed(produced), slo.alpha);
    if let Some(stall) = slo.longest_stall.filter(|stall| *stall * needed as u32 > judged) {
        let [stall, drive, needed] = [stall, judged, stall * needed as u32].map(exact_duration);
        let reason =
            format!("\"{name}\" can never pass: to exclude stalls of {stall} takes {needed}, and {drive} are judged");
        return Some(NeverPasses { reason, remedy: "replay in more time, or lower `slo.longest_stall`".to_owned() });
    }
    let planned = scenario.planned_samples_of_window(slo);
    let window = if slo.in_every.is_some() { " in each window" } else { "" };
    let advice = slo.of.how_to_get_more_samples();
    (planned < needed).then(|| NeverPasses {
        reason: format!(
            "\"{name}\" can never pass: it will get about {planned} samples{window}, and a PASS needs at least {needed}"
        ),
        remedy: format!("{advice}, replay in more time, or lower `slo.objective`"),
    })
}
