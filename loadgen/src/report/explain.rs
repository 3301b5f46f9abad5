//! What a run of a scenario will do and what it can decide, for `sluice scenario explain`. It only formats.

use std::time::Duration;

use comfy_table::Table;

use super::fit::{fit, fit_text};
use super::past::Past;
use super::table::{align_left, table};
use super::timeline::{steps, steps_of_questions};
use super::wording::{UNKNOWN, objective};
use crate::number::{self, separated};
use crate::plan::Plan;
use crate::population::Population;
use crate::question::Question;
use crate::scenario::{Scenario, Undecided, brief_duration, exact_duration};
use crate::verdict::{Behavior, Forecast, forecast, warnings};

/// Explains a scenario, in tables of at most 80 columns. The events and the interactions of millions of communications are estimated
/// from some of them, so that it takes seconds at most.
pub fn explain(scenario: &Scenario, past: &Past) -> String {
    let population = Population::uncounted(scenario);
    let plan = Plan::new(scenario, &population);
    let happens = if scenario.describes_population { steps(scenario, &plan) } else { steps_of_questions(scenario) };
    let mut parts = vec![
        scenario.title(),
        format!("What happens\n{happens}"),
        format!("Questions\n{}{}", fit(&questions(scenario, &plan), 1), live_share(scenario, &plan)),
        decisions(scenario, past),
    ];
    parts.extend(
        Some(warnings(scenario, &past.slos)).filter(|warnings| !warnings.is_empty()).map(|warnings| {
            warnings.iter().map(|warning| format!("warning: {warning}")).collect::<Vec<_>>().join("\n")
        }),
    );
    fit_text(&parts.join("\n\n"))
}

/// What an undecided availability means for the verdict on the run, if the scenario allows it.
fn undecided(scenario: &Scenario) -> &'static str {
    match scenario.availability.undecided {
        Undecided::Allow => {
            "\nthe run may PASS although the availability of a store is undecided (`availability.undecided = \"allow\"`); an undecided \
             SLO makes it INCONCLUSIVE"
        }
        Undecided::Block => "",
    }
}

fn questions(scenario: &Scenario, plan: &Plan) -> Table {
    let rate = if scenario.stages.is_empty() { "per s" } else { "per s at 1x" };
    let mut table = table(&["question", "store", rate, "planned", "judged by"], 1);
    align_left(&mut table, 1);
    for (&question, &rate) in &scenario.probes {
        let planned = plan.expected_probes(question) as u64;
        let follows = if scenario.by_calendar.contains(&question) { " by calendar" } else { "" };
        table.add_row(vec![
            question.to_string(),
            question.store().as_str().to_owned(),
            format!("{}{follows}", number::rate(rate)),
            separated(planned),
            judges(scenario, question, None),
        ]);
    }
    for users in &scenario.users {
        let seconds = scenario.duration.as_secs_f64();
        for &question in users.questions.keys() {
            let most = users.highest_rate() * users.share_of(question);
            table.add_row(vec![
                format!("{question} ({})", users.name),
                question.store().as_str().to_owned(),
                format!("at most {most:.1}"),
                separated((most * seconds) as u64),
                judges(scenario, question, Some(&users.name)),
            ]);
        }
    }
    table
}

/// How many of the questions at a rate are about what the drive writes.
fn live_share(scenario: &Scenario, plan: &Plan) -> String {
    let planned = |is_live: bool| -> f64 {
        let questions = scenario.probes.keys().filter(|question| !is_live || question.is_live());
        questions.map(|&question| plan.expected_probes(question)).sum()
    };
    let share = planned(true) / planned(false).max(1.0) * 100.0;
    if share == 0.0 {
        return String::new();
    }
    format!(
        "\n{share:.1} % of these at a rate are live: about what the drive writes, so that the right answer has bounds"
    )
}

/// The SLOs that judge a question.
fn judges(scenario: &Scenario, question: Question, users: Option<&str>) -> String {
    let names: Vec<&str> = scenario.slos_of(question, users).map(|slo| slo.name.as_str()).collect();
    if names.is_empty() { UNKNOWN.to_owned() } else { names.join(", ") }
}

fn decisions(scenario: &Scenario, past: &Past) -> String {
    let header = ["SLO", "objective", "planned", "effective", "needed", "decided after", "excludes stalls"];
    let (mut decided, mut verdicts) = (table(&header, 0), table(&["SLO", "expected"], 1));
    for slo in &scenario.slos {
        let forecast = forecast(scenario, slo, past.slos.get(&slo.name).copied());
        decided.add_row(vec![
            slo.name.clone(),
            objective(slo),
            separated(forecast.samples),
            separated(forecast.effective as u64),
            forecast.needed.map_or_else(|| UNKNOWN.to_owned(), separated),
            forecast.time_to_decision.map_or_else(|| "never".to_owned(), brief_duration),
            brief_duration(forecast.excludes_at_best.stall),
        ]);
        verdicts.add_row([slo.name.clone(), expected(&forecast, slo.within, scenario.judged_over(slo))]);
    }
    let [decided, verdicts] = [decided, verdicts].map(|table| fit(&table, 1));
    format!("What can be decided\n{decided}\n\nWhat to expect\n{verdicts}\n{}{}", basis(past), undecided(scenario))
}

/// The verdict that the run will probably give, and on what that is based.
fn expected(forecast: &Forecast, limit: Duration, drive: Duration) -> String {
    let Behavior { share, correlation, .. } = forecast.behavior;
    let verdict = match forecast.is_decided(drive) {
        true if share < forecast.allowed => "PASS",
        true => "FAIL",
        false => "INCONCLUSIVE",
    };
    format!(
        "{verdict}, {}: {} exceed {}, {correlation:.1} samples count as one",
        forecast.behavior.basis(),
        number::percent(share),
        exact_duration(limit)
    )
}

fn basis(past: &Past) -> String {
    let method = "\"decided after\" is the drive that decides nine times in ten; \"excludes stalls\" is the longest stall \
                  that a PASS without an exceedance excludes";
    match past.started_at {
        Some(at) => format!("{method}; measured in the run of {}", at.format("%Y-%m-%d %H:%M UTC")),
        None => {
            format!(
                "{method}; no report of this scenario was found, so a quarter of the allowed exceedances is assumed"
            )
        }
    }
}
