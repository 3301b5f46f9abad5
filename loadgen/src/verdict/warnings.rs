//! Warnings before a run: SLOs that can't be decided, and questions that no SLO judges or that an SLO could hide.

use super::slo::{min_samples, samples_needed};
use crate::scenario::{Scenario, Slo};

/// The warnings about a scenario, one sentence each.
pub fn warnings(scenario: &Scenario) -> Vec<String> {
    let mut warnings = Vec::new();
    for slo in &scenario.slos {
        warnings.extend(too_few_samples(scenario, slo));
        warnings.extend(can_hide(scenario, slo));
    }
    for question in scenario.probes.keys().filter(|&&question| scenario.slo_of(question).is_none()) {
        warnings.push(format!("`{question}` is asked and measured, but no SLO judges it"));
    }
    warnings
}

fn too_few_samples(scenario: &Scenario, slo: &Slo) -> Option<String> {
    let planned = scenario.planned_samples(slo);
    let least = min_samples(slo);
    let advice = "raise the rates of its questions or replay in more time";
    if planned < least {
        return Some(format!(
            "SLO `{}` will get about {planned} samples and can never pass: a PASS needs at least {least}; {advice}",
            slo.name
        ));
    }
    let needed = samples_needed(slo, (1.0 - slo.objective) / 2.0, 0.9);
    (planned < needed).then(|| {
        format!(
            "SLO `{}` will get about {planned} samples; a store with half of the allowed exceedances \
             needs {needed} to pass nine times in ten; {advice}",
            slo.name
        )
    })
}

/// A question with few of its SLO's samples can miss every limit while the SLO passes.
fn can_hide(scenario: &Scenario, slo: &Slo) -> Vec<String> {
    let all: f64 = slo.questions.iter().map(|question| scenario.probes[question]).sum();
    let hides = |rate: f64| rate / all <= 1.0 - slo.objective;
    slo.questions
        .iter()
        .filter(|question| hides(scenario.probes[question]))
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
        let warnings = [too_few, barely_enough, hidden, unjudged]
            .map(|text| warnings(&Scenario::parse(&text, "few.toml").unwrap()).join("\n"));
        insta::assert_snapshot!(warnings.join("\n"));
    }
}
