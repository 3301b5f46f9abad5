//! What a run does when, in words: its steps, the stages of its drive, and how long each takes. Estimates name their basis.
//! It only formats.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::load::expected_records;
use crate::number::separated;
use crate::plan::{Plan, Totals};
use crate::population::{Era, Population, Tenant};
use crate::scenario::{Pace, Scenario, Stage, Users, exact_duration};

/// Records that the load is assumed to write per second, on two processors.
const LOADED_PER_SECOND: f64 = 25_000.0;
/// Records that the account is assumed to compare per second, on two processors.
const COMPARED_PER_SECOND: f64 = 100_000.0;
/// How long the last batches are assumed to wait until they are sealed and written.
const SETTLED_AFTER: Duration = Duration::from_secs(35);

/// Communications of an era whose events and interactions are all counted.
const COUNTED: u64 = 1_000_000;
/// Of more, about so many are.
const COUNTED_OF_MORE: u64 = 400_000;

/// The steps of a run of a plan, with counts of its records. Those of events and interactions are estimates if there are many.
pub(super) fn steps(scenario: &Scenario, plan: &Plan) -> String {
    let population = plan.population();
    let sum = |numbers: fn(&Tenant) -> u64| population.tenants().iter().map(numbers).sum::<u64>();
    let driven_step = step(sum(|tenant| tenant.driven_communications));
    let totals = plan.estimated_totals(Era::Drive, driven_step);
    let past = plan.estimated_totals(Era::Past, step(sum(|tenant| tenant.past_communications)));
    let is_estimate = driven_step > 1;
    let about =
        |count: u64| if is_estimate { format!("about {}", separated(rounded(count))) } else { separated(count) };
    let count = |numbers: fn(&Tenant) -> u64| separated(sum(numbers));
    let written = exact_duration(scenario.lead() + scenario.duration);
    let mut lines = vec![
        format!(
            "  load     {} tenants, {} customers, {} campaigns, {} agents, and {} communications of the last {}",
            scenario.tenants,
            count(|tenant| tenant.customers),
            count(|tenant| tenant.campaigns),
            count(|tenant| tenant.agents),
            count(|tenant| tenant.past_communications),
            exact_duration(scenario.history_span),
        ),
        format!("  warm up  {}: {}, not judged", exact_duration(scenario.warm_up), warm_up(scenario)),
        format!(
            "  drive    {}: {} of simulated time in {written}, {:.0} times real time",
            exact_duration(scenario.duration),
            exact_duration(scenario.span),
            scenario.compression()
        ),
        format!(
            "           {} communications to PostgreSQL; {} events, {} interactions and {} metrics to Kafka",
            separated(totals.communications),
            about(totals.events),
            about(totals.interactions),
            separated(totals.metrics),
        ),
    ];
    lines.extend(stages(scenario, plan, totals).into_iter().map(|line| format!("           {line}")));
    lines.extend(scenario.users.iter().map(users_of));
    lines.extend([
        format!(
            "  settle   until every record has landed, at most {} after the last one",
            exact_duration(scenario.settle)
        ),
        "  account  the records in every store are compared with the plan".to_owned(),
        in_all(scenario, population, totals, past.events),
    ]);
    lines.join("\n")
}

/// One in so many communications of an era is counted: the same for each tenant, since few tenants have most of them.
fn step(communications: u64) -> u64 {
    if communications > COUNTED { communications.div_ceil(COUNTED_OF_MORE) } else { 1 }
}

/// The steps of a run that only asks an existing deployment.
pub(super) fn steps_of_questions(scenario: &Scenario) -> String {
    format!(
        "  prepare  the stores check each question, and the values of its parameters are read\n  warm up  {}: questions, not \
         judged\n  drive    {}: questions; nothing is written, so there is no account",
        exact_duration(scenario.warm_up),
        exact_duration(scenario.duration)
    )
}

fn users_of(users: &Users) -> String {
    format!(
        "           {} users \"{}\" who think for {} on average: service times, not corrected for coordinated omission",
        separated(users.count.into()),
        users.name,
        exact_duration(users.think_time)
    )
}

fn warm_up(scenario: &Scenario) -> &'static str {
    if scenario.warm_up_writes { "questions and writes" } else { "questions" }
}

/// What is sent at which rate, one line for each part of the drive between two edges of stages.
fn stages(scenario: &Scenario, plan: &Plan, totals: Totals) -> Vec<String> {
    let all = scenario.stages.iter().filter(|stage| stage.tenant.is_none());
    let edges: BTreeSet<Duration> =
        all.flat_map(|stage| [stage.start, stage.end()]).chain([Duration::ZERO, scenario.duration]).collect();
    let edges: Vec<Duration> = edges.into_iter().collect();
    let mut lines: Vec<String> =
        edges.windows(2).map(|edges| part(scenario, plan, totals, edges[0], edges[1])).collect();
    lines.extend(scenario.stages.iter().filter_map(|stage| tenants_stage(scenario, stage)));
    let spread = match scenario.pace {
        Pace::Steady => "the writes keep to these rates: quiet hours of simulated time pass faster",
        Pace::Calendar => "the writes follow the calendar: these rates are averages, and office hours are busier",
    };
    lines.push(spread.to_owned());
    lines
}

fn part(scenario: &Scenario, plan: &Plan, totals: Totals, from: Duration, to: Duration) -> String {
    let (lead, seconds) = (scenario.lead().as_secs_f64(), from.as_secs_f64()..to.as_secs_f64());
    let length = seconds.end - seconds.start;
    let tenants = plan.population().tenants();
    let all: f64 = tenants.iter().map(|tenant| tenant.driven_communications as f64).sum();
    let written: f64 = tenants
        .iter()
        .map(|tenant| {
            let factors = scenario.write_factors(tenant.index as u32);
            let within = factors.total_before(seconds.end + lead) - factors.total_before(seconds.start + lead);
            tenant.driven_communications as f64 * within / factors.total()
        })
        .sum();
    let asked: f64 =
        scenario.probes.iter().map(|(&question, rate)| rate * plan.expected_share(question, &seconds)).sum();
    let stage = scenario.stages.iter().find(|stage| stage.tenant.is_none() && stage.start == from);
    let factor = stage.map_or_else(|| "1x".to_owned(), factors);
    format!(
        "{} to {}: {factor}, about {} records/s and {} questions/s",
        exact_duration(from),
        exact_duration(to),
        separated((totals.all() as f64 * written / all / length).round() as u64),
        separated((asked / length).round() as u64),
    )
}

/// The factors of a stage in words.
fn factors(stage: &Stage) -> String {
    let Stage { writes, probes, .. } = stage;
    if writes == probes { writes.to_string() } else { format!("writes {writes}, questions {probes}") }
}

fn tenants_stage(scenario: &Scenario, stage: &Stage) -> Option<String> {
    let tenant = stage.tenant? + 1;
    let [from, to] = [stage.start, stage.end()].map(exact_duration);
    Some(format!(
        "{from} to {to}: tenant {tenant} of {} by size at {}, which is part of the above",
        scenario.tenants,
        factors(stage)
    ))
}

/// How long the run takes without the start of the stores.
fn in_all(scenario: &Scenario, population: &Population, totals: Totals, past_events: u64) -> String {
    // Events that are not counted one by one are not among those records.
    let loaded = expected_records(population).values().sum::<u64>() + past_events;
    let seconds =
        |records: u64, per_second: f64| Duration::from_secs_f64((records as f64 / per_second).ceil().max(1.0));
    let (load, account) = (seconds(loaded, LOADED_PER_SECOND), seconds(loaded + totals.all(), COMPARED_PER_SECOND));
    let sum = load + scenario.warm_up + scenario.duration + SETTLED_AFTER + account;
    let length = exact_duration(rounded_up(sum));
    format!(
        "  in all   about {length} without the start of the stores: load {}, warm-up and drive {}, settle {}, account {} \
         (assumed: {} records/s loaded, {} compared, the last batches sealed by time)",
        exact_duration(load),
        exact_duration(scenario.warm_up + scenario.duration),
        exact_duration(SETTLED_AFTER),
        exact_duration(account),
        separated(LOADED_PER_SECOND as u64),
        separated(COMPARED_PER_SECOND as u64),
    )
}

/// A number to three digits.
fn rounded(count: u64) -> u64 {
    let unit = 10_u64.pow(count.checked_ilog10().unwrap_or(0).saturating_sub(2));
    (count + unit / 2) / unit * unit
}

/// An estimate of a length: in seconds below two minutes, otherwise in whole minutes.
fn rounded_up(length: Duration) -> Duration {
    let unit = if length < Duration::from_mins(2) { 1 } else { 60 };
    Duration::from_secs(length.as_secs().div_ceil(unit) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_as_many_communications_is_counted_whatever_their_tenant() {
        assert_eq!([0, COUNTED, COUNTED + 1, 100_000_000].map(step), [1, 1, 3, 250]);
    }

    #[test]
    fn estimates_are_rounded() {
        assert_eq!([0, 7, 999, 1_234, 401_537_812].map(rounded), [0, 7, 999, 1_230, 402_000_000]);
        let lengths = [76, 119, 121, 600].map(Duration::from_secs);
        assert_eq!(lengths.map(rounded_up).map(exact_duration), ["76 s", "119 s", "3 min", "10 min"]);
    }
}
