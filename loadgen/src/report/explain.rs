//! What a run of a scenario will do and what it can decide, for `sluice scenario explain`. It only formats.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table};

use super::past::Past;
use super::table::{table, trim};
use super::wording::{UNKNOWN, objective};
use crate::number::separated;
use crate::plan::{Plan, Totals};
use crate::population::Population;
use crate::question::Question;
use crate::scenario::{Scenario, brief_duration, exact_duration};
use crate::verdict::{Behavior, Forecast, forecast, warnings};

/// Explains a scenario. Counts every planned write, which takes seconds for millions.
pub fn explain(scenario: &Scenario, past: &Past) -> String {
    let population = Population::new(scenario);
    let totals = Plan::new(scenario, &population).all_totals();
    let mut parts = vec![
        format!("{}: {}", scenario.name, scenario.description),
        format!("What happens\n{}", steps(scenario, &population, totals)),
        format!("Questions\n{}", questions(scenario)),
        format!("What can be decided\n{}\n{}", decisions(scenario, past), basis(past)),
    ];
    parts.extend(
        Some(warnings(scenario)).filter(|warnings| !warnings.is_empty()).map(|warnings| {
            warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>().join("\n")
        }),
    );
    trim(&parts.join("\n\n"))
}

fn steps(scenario: &Scenario, population: &Population, totals: Totals) -> String {
    let count = |numbers: fn(&crate::population::Tenant) -> u64| {
        separated(population.tenants().iter().map(numbers).sum::<u64>())
    };
    let seconds = scenario.duration.as_secs_f64();
    let span = exact_duration(scenario.span);
    [
        format!(
            "  load     {} tenants, {} customers, {} campaigns, {} agents, and {} communications of the last {}",
            scenario.tenants,
            count(|tenant| tenant.customers),
            count(|tenant| tenant.campaigns),
            count(|tenant| tenant.agents),
            count(|tenant| tenant.past_communications),
            exact_duration(scenario.history_span),
        ),
        format!("  warm up  {}: questions, not judged", exact_duration(scenario.warm_up)),
        format!(
            "  drive    {}: {span} of simulated time, {:.0} times real time",
            exact_duration(scenario.duration),
            scenario.compression()
        ),
        format!(
            "           {} communications to PostgreSQL; {} events, {} interactions and {} metrics to Kafka, \
             {} records/s on average",
            separated(totals.communications),
            separated(totals.events),
            separated(totals.interactions),
            separated(totals.metrics),
            separated((totals.all() as f64 / seconds) as u64),
        ),
        format!(
            "  settle   until every record has landed, at most {} after the last one",
            exact_duration(scenario.settle)
        ),
        "  account  every record in every store is compared with the plan".to_owned(),
    ]
    .join("\n")
}

fn questions(scenario: &Scenario) -> Table {
    let mut table = table(&["question", "store", "per s", "planned", "judged by"], 1);
    for (&question, &rate) in &scenario.probes {
        let planned = (rate * scenario.duration.as_secs_f64()) as u64;
        table.add_row(vec![
            Cell::new(question),
            Cell::new(question.store().as_str()).set_alignment(CellAlignment::Left),
            Cell::new(rate),
            Cell::new(separated(planned)),
            Cell::new(judges(scenario, question)),
        ]);
    }
    table
}

/// The SLOs that judge a question.
fn judges(scenario: &Scenario, question: Question) -> String {
    let names: Vec<&str> = scenario.slos_of(question).map(|slo| slo.name.as_str()).collect();
    if names.is_empty() { UNKNOWN.to_owned() } else { names.join(", ") }
}

fn decisions(scenario: &Scenario, past: &Past) -> Table {
    let header = ["SLO", "objective", "planned", "effective", "needed", "decided after", "excludes stalls", "expected"];
    let mut table = table(&header, 1);
    for slo in &scenario.slos {
        let behavior = past.slos.get(&slo.name).copied().unwrap_or_else(|| Behavior::assumed(slo));
        let forecast = forecast(scenario, slo, behavior);
        let expected = expected(&forecast, 1.0 - slo.objective, scenario.judged_over(slo));
        table.add_row(vec![
            slo.name.clone(),
            objective(slo),
            separated(forecast.samples),
            separated(forecast.effective as u64),
            forecast.needed.map_or_else(|| UNKNOWN.to_owned(), separated),
            forecast.time_to_decision.map_or_else(|| "never".to_owned(), brief_duration),
            brief_duration(forecast.excludes_at_best.stall),
            expected,
        ]);
    }
    table
}

/// The verdict that the run will probably give, and on what that is based.
fn expected(forecast: &Forecast, allowed: f64, drive: Duration) -> String {
    let Behavior { share, correlation, is_measured } = forecast.behavior;
    let verdict = match forecast.time_to_decision {
        Some(time) if time <= drive && share < allowed => "PASS",
        Some(time) if time <= drive => "FAIL",
        _ => "INCONCLUSIVE",
    };
    let basis = if is_measured { "measured" } else { "assumed" };
    format!("{verdict}, {basis}: {:.2} % exceed, {correlation:.1} samples count as one", share * 100.0)
}

fn basis(past: &Past) -> String {
    let method = "\"decided after\" is the drive that decides nine times in ten; \"excludes stalls\" is the longest stall \
                  that a PASS without an exceedance excludes";
    match past.started_at {
        Some(at) => format!("{method}; measured in the run of {}", at.format("%Y-%m-%d %H:%M UTC")),
        None => {
            format!("{method}; no report of this scenario was found, so half of the allowed exceedances are assumed")
        }
    }
}
