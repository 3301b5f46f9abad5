//! The result of the searches as tables for the terminal. It only formats.

use comfy_table::Table;

use super::report::{CapacityReport, SearchReport};
use super::scaling::Scaling;
use super::search::{Found, Hold, Outcome};
use super::step::Step;
use crate::number::separated;
use crate::report::fit::{fit, fit_text};
use crate::report::table::table;
use crate::report::wording::millis;

/// All tables, of at most 80 columns, and the conclusion as the last lines.
pub(super) fn render(report: &CapacityReport) -> String {
    let run = &report.run;
    let (hold, confirm) = report.hold;
    let mut parts = vec![format!(
        "{}: {}\neach rate is held for {hold:.0} s or until it is decided, and the highest one for {confirm:.0} s more",
        run.scenario.name, run.scenario.description
    )];
    parts.extend(
        report.searches.iter().map(|search| format!("Steps of {}\n{}", search.subject, fit(&steps(search), 1))),
    );
    parts.push(format!("Capacity\n{}", fit(&summary(report), 1)));
    parts.push(report.searches.iter().flat_map(|search| sentences(report, search)).collect::<Vec<_>>().join("\n"));
    fit_text(&parts.join("\n\n"))
}

fn steps(search: &SearchReport) -> Table {
    let mut rows = table(&["step", "rate", "held", "questions/s", "records/s", "busy", "landed in", "outcome"], 1);
    for step in &search.steps {
        let hold = if step.hold == Hold::Confirm { " (confirming)" } else { "" };
        rows.add_row([
            step.trial.to_string(),
            format!("{:.2}x", step.factor),
            format!("{:.0} s", step.seconds),
            format!("{:.1}", step.questions),
            separated(step.records.round() as u64),
            format!("{:.0} %", step.observed.machine.busy * 100.0),
            format!("{:.0} s", step.observed.landed_after),
            format!("{}{hold}", outcome(step)),
        ]);
    }
    rows
}

/// What a step says, with the SLOs that say so.
pub(super) fn outcome(step: &Step) -> String {
    let slos = if step.slos.is_empty() { String::new() } else { format!(": {}", step.slos.join(", ")) };
    match step.outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed => format!("failed{slos}"),
        Outcome::Undecided if !step.is_decisive => format!("undecided, held again{slos}"),
        Outcome::Undecided => format!("undecided{slos}"),
        Outcome::TooFewSamples if !step.is_decisive => format!("too few samples, held again{slos}"),
        Outcome::TooFewSamples => format!("too few samples{slos}"),
        Outcome::GeneratorGaveWay => "the generator gave way".to_owned(),
    }
}

fn summary(report: &CapacityReport) -> Table {
    let mut rows =
        table(&["capacity of", "holds at", "questions/s", "records/s", "headroom ends", "gave way first"], 2);
    for search in &report.searches {
        let rate = |pick: fn((f64, f64)) -> f64| {
            search.rates.map_or_else(|| "-".to_owned(), |rates| separated(pick(rates).round() as u64))
        };
        rows.add_row([
            search.subject.to_string(),
            search.found.passed().map_or_else(|| "-".to_owned(), |passed| format!("{passed:.2}x")),
            rate(|(questions, _)| questions),
            rate(|(_, records)| records),
            report.ends_on(search).map_or_else(|| "-".to_owned(), |day| day.to_string()),
            gave_way(search),
        ]);
    }
    rows
}

/// The SLOs that failed first, and the most exhausted resource.
pub(super) fn gave_way(search: &SearchReport) -> String {
    let resource = search.gave_way.first().map(|pressure| pressure.resource.clone());
    let parts: Vec<String> = search.missed.iter().cloned().chain(resource).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}

/// What was found, in sentences.
pub(super) fn sentences(report: &CapacityReport, search: &SearchReport) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", search.subject, search.conclusion())];
    lines.extend(search.reasons.iter().take(2).map(|reason| format!("  {reason}")));
    let pressures = search.gave_way.iter().take(3);
    lines
        .extend(pressures.map(|one| format!("  {} ({:.0} %): {}", one.resource, one.saturation * 100.0, one.evidence)));
    let is_judged = !matches!(search.found, Found::TooFewSamples { .. });
    if is_judged && !search.reasons.is_empty() && search.gave_way.is_empty() {
        lines.push("  no resource was exhausted by what the stores and the machine report".to_owned());
    }
    if let Some(scaling) = &search.scaling {
        lines.push(format!("  {}", law(scaling)));
    }
    if let Some(growth) = report.growth {
        let ends = match (search.found.passed(), report.ends_on(search)) {
            (None, _) if matches!(search.found, Found::BelowFirst { .. }) => "there is no headroom".to_owned(),
            (None, _) => "the headroom is not known".to_owned(),
            (Some(passed), _) if passed < 1.0 => "the load of the scenario already exceeds it".to_owned(),
            (Some(_), Some(day)) => format!("the headroom ends on {day}"),
            (Some(_), None) => "the headroom lasts for more than a century".to_owned(),
        };
        lines.push(format!("  growing by {growth}, {ends}"));
    }
    lines
}

fn law(scaling: &Scaling) -> String {
    let Scaling { lambda, sigma, kappa, peak, peak_interval, measured_to } = scaling;
    let interval = peak_interval.map_or_else(
        || "; the steps don't bound it".to_owned(),
        |(low, high)| format!(" (95 %: {low:.0} to {high:.0})"),
    );
    let peak = peak.map_or_else(|| "no limit".to_owned(), |peak| format!("at most {peak:.0} answers/s{interval}"));
    format!(
        "scalability law: {lambda:.0} answers/s one at a time, contention {sigma:.3}, coherency {kappa:.5}, {peak}; measured \
         up to {measured_to:.1} in progress"
    )
}

/// Latencies of a step's SLOs, for the page.
pub(super) fn latencies(step: &Step) -> String {
    step.p95_us.iter().map(|(slo, p95)| format!("{slo} {}", millis(*p95))).collect::<Vec<_>>().join(", ")
}
