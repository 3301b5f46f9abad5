//! Warnings before a run: SLOs that can't be decided, and questions that no SLO judges or that an SLO could hide.

use super::availability::ALPHA;
use super::binomial;
use super::slo::{hypothesis, planned_rate};
use crate::number::percent;
use crate::question::{Question, Store};
use crate::scenario::{Availability, Operation, Scenario, Slo, Undecided, exact_duration};

/// The warnings about a scenario, one sentence each.
pub fn warnings(scenario: &Scenario) -> Vec<String> {
    let mut warnings = Vec::new();
    for slo in &scenario.slos {
        warnings.extend(too_few_samples(scenario, slo));
        warnings.extend(too_low_a_rate(scenario, slo));
        warnings.extend(can_hide(scenario, slo));
    }
    warnings.extend(undecided_availability(scenario));
    for question in scenario.probes.keys().filter(|&&question| scenario.slos_of(question, None).next().is_none()) {
        warnings.push(format!("`{question}` is asked and measured, but no SLO judges it"));
    }
    warnings
}

fn too_few_samples(scenario: &Scenario, slo: &Slo) -> Option<String> {
    // An SLO that must hold in every window needs the samples in each.
    let judged = scenario.judged_over(slo);
    let planned = (scenario.planned_samples(slo) as f64 * judged.div_duration_f64(scenario.duration)) as u64;
    let allowed = hypothesis(slo, planned_rate(scenario, slo)).allowed;
    let least = binomial::min_samples(allowed, slo.alpha);
    let window = if slo.in_every.is_some() { " in each window" } else { "" };
    let advice = match slo.of {
        Operation::Questions => "raise the rates of its questions or replay in more time",
        Operation::Commits | Operation::Events => "raise `drive.communications` or replay in more time",
    };
    if let Some(stall) = slo.longest_stall.filter(|stall| *stall * least as u32 > judged) {
        let [stall, drive, needed] = [stall, judged, stall * least as u32].map(exact_duration);
        return Some(format!(
            "SLO `{}` can never pass: to exclude stalls of {stall} takes {needed}, and {drive} are judged; replay in \
             more time, or lower `slo.longest_stall`",
            slo.name
        ));
    }
    if planned < least {
        return Some(format!(
            "SLO `{}` will get about {planned} samples{window} and can never pass: a PASS needs at least {least}; {advice}",
            slo.name
        ));
    }
    let needed = binomial::samples_to_decide(allowed, slo.alpha, allowed / 2.0, 0.9)?;
    (planned < needed).then(|| {
        format!(
            "SLO `{}` will get about {planned} samples{window}; a store with half of the allowed exceedances \
             needs {needed} to pass nine times in ten; {advice}",
            slo.name
        )
    })
}

fn too_low_a_rate(scenario: &Scenario, slo: &Slo) -> Option<String> {
    let least = slo.at_least?;
    let planned = planned_rate(scenario, slo);
    (planned < least).then(|| {
        format!(
            "SLO `{}` can never pass: about {planned:.0} events/s are planned, and it demands {least:.0}; raise \
             `drive.communications`, or lower `slo.at_least`",
            slo.name
        )
    })
}

/// Availability that the questions alone can't decide, although the run needs it. Writes come on top.
fn undecided_availability(scenario: &Scenario) -> Option<String> {
    let Availability { objective, undecided, .. } = scenario.availability;
    let needed = binomial::min_samples(1.0 - objective, ALPHA);
    let rate = |store| {
        let asked = scenario.probes.iter().filter(move |(question, _)| question.store() == store);
        asked.map(|(_, rate)| rate).sum::<f64>()
    };
    let samples = |store| (rate(store) * scenario.duration.as_secs_f64()) as u64;
    let few = |store: &&Store| (1..needed).contains(&samples(**store));
    let (store, samples) =
        Store::ALL.iter().filter(few).map(|&store| (store, samples(store))).min_by_key(|&(_, n)| n)?;
    (undecided == Undecided::Block).then(|| {
        format!(
            "the availability of {} can't be decided: {} needs {needed} questions without a failure, and about \
             {samples} are planned; replay in more time, or let the run pass without it with \
             `availability.undecided = \"allow\"`",
            store.as_str(),
            percent(objective)
        )
    })
}

/// A question with few of its SLO's samples can miss every limit while the SLO passes.
fn can_hide(scenario: &Scenario, slo: &Slo) -> Vec<String> {
    let users = slo.users.as_deref().and_then(|name| scenario.users_named(name));
    let rate = |&question: &Question| match users {
        Some(users) => users.share_of(question),
        None => scenario.probes.get(&question).copied().unwrap_or(0.0),
    };
    let all: f64 = slo.questions.iter().map(rate).sum();
    slo.questions
        .iter()
        .filter(|question| rate(question) / all <= 1.0 - slo.objective)
        .map(|question| {
            format!(
                "`{question}` contributes so few samples to SLO `{}` that it could be slow unnoticed; raise its rate or \
                 give it an SLO of its own",
                slo.name
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SMOKE: &str = include_str!("../../../scenarios/smoke.toml");

    /// The smoke scenario, edited.
    fn edited(from: &str, to: &str) -> String {
        assert!(SMOKE.contains(from), "{from}");
        SMOKE.replacen(from, to, 1)
    }

    #[test]
    fn no_scenario_in_the_repository_has_a_warning() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            assert_eq!(warnings(&Scenario::read(&file).unwrap()), [""; 0], "{}", file.display());
        }
    }

    #[test]
    fn what_cannot_be_decided_is_said_before_the_run() {
        let too_few = edited("search = \"8/s\"", "search = \"0.7/s\"");
        let barely_enough = edited("search = \"8/s\"", "search = \"2/s\"");
        let hidden = edited("timeline = \"8/s\"", "timeline = \"2/s\"");
        let unjudged = edited("\"timeline\", ", "");
        let too_short = edited("alpha = \"5 %\"", "longest_stall = \"5 s\"");
        let unavailable = edited("undecided = \"allow\"", "undecided = \"block\"");
        let warnings = [too_few, barely_enough, hidden, unjudged, too_short, unavailable]
            .map(|text| warnings(&Scenario::parse(&text, "few.toml").unwrap()).join("\n"));
        insta::assert_snapshot!(warnings.join("\n"));
    }
}
