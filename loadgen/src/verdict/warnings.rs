//! Warnings before a run: no SLO at all, SLOs that are probably not decided, and questions that no SLO judges or that an SLO
//! could hide. A warning never changes a verdict.

use std::collections::BTreeMap;

use super::forecast::{Behavior, Forecast, forecast};
use crate::binomial;
use crate::number::{percent, separated};
use crate::question::{Question, Store};
use crate::scenario::{Availability, Scenario, Slo, Undecided};

/// The warnings about a scenario, one sentence each. `measured` is what an earlier run measured about its SLOs, by their names.
pub fn warnings(scenario: &Scenario, measured: &BTreeMap<String, Behavior>) -> Vec<String> {
    let mut warnings = Vec::new();
    for slo in &scenario.slos {
        warnings.extend(too_few_samples(scenario, slo, measured.get(&slo.name).copied()));
        warnings.extend(can_hide(scenario, slo));
    }
    warnings.extend(undecided_availability(scenario));
    if scenario.slos.is_empty() {
        warnings.push("it has no SLO, so a run without a failure is INCONCLUSIVE; add an [[slo]]".to_owned());
        return warnings;
    }
    warnings.extend(unjudged(scenario));
    warnings
}

/// Questions that no SLO judges.
fn unjudged(scenario: &Scenario) -> Option<String> {
    let unjudged = scenario.probes.keys().filter(|&&question| scenario.slos_of(question, None).next().is_none());
    let names: Vec<String> = unjudged.map(|question| format!("`{question}`")).collect();
    match names.split_last()? {
        (only, []) => Some(format!("{only} is asked and measured, but no SLO judges it")),
        (last, others) => {
            Some(format!("{} and {last} are asked and measured, but no SLO judges them", others.join(", ")))
        }
    }
}

/// Samples that may pass, and probably don't decide. That none can pass is a mistake of the scenario.
fn too_few_samples(scenario: &Scenario, slo: &Slo, measured: Option<Behavior>) -> Option<String> {
    let forecast = forecast(scenario, slo, measured);
    if forecast.is_decided(scenario.judged_over(slo)) {
        return None;
    }
    let Forecast { behavior, effective, needed, .. } = forecast;
    let planned = separated(scenario.planned_samples_of_window(slo));
    let window = if slo.in_every.is_some() { " in each window" } else { "" };
    let (exceed, basis) = (percent(behavior.share), behavior.basis());
    let what = format!(
        "SLO `{}` will probably not be decided: it will get about {planned} samples{window}, worth about {} independent ones",
        slo.name,
        separated(effective as u64)
    );
    let Some(needed) = needed else {
        return Some(format!("{what}, and no number decides if {exceed} exceed the limit, as {basis}"));
    };
    let advice = slo.of.how_to_get_more_samples();
    Some(format!(
        "{what}, and {} decide nine times in ten if {exceed} exceed the limit, as {basis}; {advice}, or replay in more time",
        separated(needed)
    ))
}

/// Availability that the planned operations can't decide, although the run needs it.
fn undecided_availability(scenario: &Scenario) -> Option<String> {
    let Availability { objective, undecided, .. } = scenario.availability;
    if undecided == Undecided::Allow {
        return None;
    }
    let needed = binomial::min_samples(1.0 - objective, Availability::ALPHA);
    let samples = |store| scenario.planned_operations(store);
    let few = |store: &&Store| (1..needed).contains(&samples(**store));
    let few: Vec<Store> = Store::ALL.iter().filter(few).copied().collect();
    let most = few.iter().map(|&store| samples(store)).max()?;
    let names = few.iter().map(|store| store.as_str()).collect::<Vec<_>>().join(", ");
    Some(format!(
        "the availability of {names} can't be decided: {} needs {} operations without a failure, and at most about {} are \
         planned to each; replay in more time, or let the run pass without it with `availability.undecided = \"allow\"`",
        percent(objective),
        separated(needed),
        separated(most)
    ))
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
            assert_eq!(warnings(&Scenario::read(&file).unwrap(), &BTreeMap::new()), [""; 0], "{}", file.display());
        }
    }

    #[test]
    fn what_cannot_be_decided_is_said_before_the_run() {
        let barely_enough = edited("search = \"8/s\"", "search = \"2/s\"");
        let hidden = edited("timeline = \"8/s\"", "timeline = \"2/s\"");
        let unjudged = edited("\"timeline\", ", "");
        let unavailable = edited("undecided = \"allow\"", "undecided = \"block\"");
        let warnings = [barely_enough, hidden, unjudged, unavailable]
            .map(|text| warnings(&Scenario::parse(&text, "few.toml").unwrap(), &BTreeMap::new()).join("\n"));
        insta::assert_snapshot!(warnings.join("\n"));
    }

    #[test]
    fn a_warning_counts_independent_samples_as_the_forecast_does() {
        let scenario = Scenario::parse(SMOKE, "smoke.toml").unwrap();
        let search = scenario.slos.iter().find(|slo| slo.name == "search").unwrap();
        // 600 samples are planned.
        for (effective, exceedances) in [(600.0, 3.0), (300.0, 3.0), (60.0, 0.5), (600.0, 29.5)] {
            let behavior = Behavior::measured(600, effective, exceedances);
            let measured = BTreeMap::from([("search".to_owned(), behavior)]);
            let warned = warnings(&scenario, &measured).iter().any(|warning| warning.contains("SLO `search`"));
            let decided = forecast(&scenario, search, Some(behavior)).is_decided(scenario.judged_over(search));
            assert_eq!(warned, !decided, "{effective} effective samples");
        }
        let correlated = BTreeMap::from([("search".to_owned(), Behavior::measured(600, 60.0, 0.5))]);
        insta::assert_snapshot!(warnings(&scenario, &correlated).join("\n"));
    }
}
