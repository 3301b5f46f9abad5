//! Checks a scenario as it is written in its file. Every mistake is reported with its line.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Datelike;

use super::decidable::decidable;
use super::error::ScenarioError;
use super::limits::{Connections, TimeOuts};
use super::names::{name, unknown};
use super::probes::probes;
use super::raw::{self, Count, Raw, Text};
use super::shape::{self, MAX_RECORDS, MAX_TENANTS};
use super::slos::slos;
use super::source::Source;
use super::types::{Access, Arrivals, Availability, Pace, Scenario, Undecided};
use super::{access, questions, units, users};
use crate::question::Store;

const DAY: Duration = Duration::from_hours(24);
/// Longest past: ClickHouse drops rows after seven years, and what has been dropped can't be accounted for.
const MAX_PAST: Duration = Duration::from_hours(24 * 2_500);

/// Checks everything, in the order of the file; every mistake is found that does not follow from another one.
pub(super) fn check(raw: &Raw, access: Option<Access>, source: &Source) -> Result<Scenario, Vec<ScenarioError>> {
    let checked = parts(raw, source);
    // What lacks a mistaken rate has fewer samples than its file says.
    if let Some(scenario) = checked.as_ref().filter(|_| !source.has_mistakes()) {
        decidable(scenario, &raw.slo, source);
    }
    if let Some((scenario, access)) = checked.as_ref().zip(access) {
        access::fits(raw, &scenario.slos, access, source);
    }
    let mistakes = source.mistakes();
    checked.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

fn parts(raw: &Raw, source: &Source) -> Option<Scenario> {
    let name = source.keep(name(&raw.name, source));
    let time = source.keep(time(&raw.time, source));
    let tenants = source.keep(source.count(&raw.population.tenants, "population.tenants", 1..MAX_TENANTS + 1));
    let sizes = source.keep(sizes(raw, tenants.unwrap_or(1), source));
    let history_span = source.keep(past_span(&raw.past.span, source));
    let drive = source.keep(drive(&raw.drive, source));
    let own = questions::questions(&raw.question, source);
    let (probes, users) = (probes(raw, &own, source), users::users(&raw.users, &own, source));
    let drive_length = time.as_ref().map(|time| time.duration);
    let stages = tenants.zip(drive_length).and_then(|(tenants, drive)| shape::stages(raw, tenants, drive, source));
    let time_outs = time_outs(&raw.time_outs, source);
    let connections = source.keep(connections(&raw.connections, source));
    let slos = slos(&raw.slo, (&probes, users.as_deref(), &own), time_outs.as_ref(), (tenants, drive_length), source);
    let availability = source.keep(availability(raw.availability.as_ref(), source));
    let (time, sizes, drive) = (time?, sizes?, drive?);
    let scenario = Scenario {
        name: name?,
        description: raw.description.clone(),
        seed: raw.seeds.data,
        key_seed: raw.seeds.keys,
        start: time.start,
        span: time.span,
        duration: time.duration,
        warm_up: time.warm_up,
        warm_up_writes: raw.time.warm_up_writes,
        settle: time.settle,
        tenants: tenants? as u32,
        tenant_skew: sizes.skew,
        customers: sizes.customers,
        customers_per_campaign: sizes.per_campaign,
        customers_per_agent: sizes.per_agent,
        history: sizes.history,
        history_span: history_span?,
        communications: ((sizes.communications as f64 * drive.rate).round() as u64).max(tenants?),
        metric_interval: drive.metric_interval,
        pace: drive.pace,
        arrivals: drive.arrivals,
        rate: drive.rate,
        probes: probes.rates.into_iter().map(|(question, rate)| (question, rate * drive.rate)).collect(),
        by_calendar: probes.by_calendar,
        questions: own,
        describes_population: raw.describes_population,
        stages: stages?,
        users: users?,
        slos,
        availability: availability?,
        time_outs: time_outs?,
        connections: connections?,
    };
    source.keep(shape::fits(&scenario, raw, source)).map(|()| scenario)
}

struct Time {
    start: chrono::DateTime<chrono::Utc>,
    span: Duration,
    duration: Duration,
    warm_up: Duration,
    settle: Duration,
}

fn time(raw: &raw::Time, source: &Source) -> Result<Time, ScenarioError> {
    let second = Duration::from_secs(1);
    let start: chrono::DateTime<chrono::Utc> =
        raw.start.as_ref().parse().map_err(|message| source.wrong(&raw.start, "time.start", message))?;
    if !(2000..2100).contains(&start.year()) {
        let message = "it is outside the supported years; choose a year from 2000 to 2099; data older than seven years is not kept";
        return Err(source.wrong(&raw.start, "time.start", message));
    }
    if start.timestamp_millis() % 3_600_000 != 0 {
        return Err(source.wrong(
            &raw.start,
            "time.start",
            "it is not a full hour; write a full hour, such as 2026-11-16T00:00:00Z",
        ));
    }
    let span = source.duration(&raw.span, "time.span", second..DAY * 400)?;
    // Kafka keeps the records of a run for a week.
    let duration = source.duration(&raw.replayed_in, "time.replayed_in", second..DAY * 6)?;
    if duration > span {
        let message = "it is longer than `time.span`; time can be compressed, not stretched: shorten it";
        return Err(source.wrong(&raw.replayed_in, "time.replayed_in", message));
    }
    let hour = second * 3600;
    Ok(Time {
        start,
        span,
        duration,
        warm_up: source.optional(raw.warm_up.as_ref(), "time.warm_up", Duration::ZERO..hour, Duration::ZERO)?,
        settle: source.optional(raw.settle.as_ref(), "time.settle", second..hour, second * 60)?,
    })
}

struct Sizes {
    skew: f64,
    customers: u64,
    per_campaign: u64,
    per_agent: u64,
    history: u64,
    communications: u64,
}

fn sizes(raw: &Raw, tenants: u64, source: &Source) -> Result<Sizes, ScenarioError> {
    let people = &raw.population;
    let skew = people.skew.as_ref().map_or(1.0, |skew| *skew.as_ref());
    if let Some(at) = people.skew.as_ref().filter(|_| !(0.0..=3.0).contains(&skew)) {
        return Err(source.wrong(
            at,
            "population.skew",
            format!("{skew} is out of range; write 0.0 (equal tenants) to 3.0"),
        ));
    }
    let per = |at: Option<&Count>, key: &str| at.map_or(Ok(500), |at| source.count(at, key, 1..MAX_RECORDS));
    Ok(Sizes {
        skew,
        customers: source.count(&people.customers, "population.customers", tenants..MAX_RECORDS + 1)?,
        per_campaign: per(people.customers_per_campaign.as_ref(), "population.customers_per_campaign")?,
        per_agent: per(people.customers_per_agent.as_ref(), "population.customers_per_agent")?,
        history: source.count(&raw.past.communications, "past.communications", tenants..MAX_RECORDS + 1)?,
        communications: source.count(&raw.drive.communications, "drive.communications", tenants..MAX_RECORDS + 1)?,
    })
}

fn past_span(at: &Text, source: &Source) -> Result<Duration, ScenarioError> {
    let span = source.duration(at, "past.span", DAY..MAX_PAST + DAY)?;
    if span.as_secs() % DAY.as_secs() == 0 && span.subsec_nanos() == 0 {
        return Ok(span);
    }
    Err(source.wrong(
        at,
        "past.span",
        format!("\"{}\" is not whole days; write whole days, such as \"28 days\"", at.as_ref()),
    ))
}

struct Drive {
    rate: f64,
    pace: Pace,
    arrivals: Arrivals,
    metric_interval: Duration,
}

fn drive(raw: &raw::Drive, source: &Source) -> Result<Drive, ScenarioError> {
    let minute = Duration::from_mins(1);
    let rate = match &raw.rate {
        Some(at) => source.unit(at, "drive.rate", units::factor)?,
        None => 1.0,
    };
    if let Some(at) = raw.rate.as_ref().filter(|_| rate == 0.0) {
        return Err(source.wrong(at, "drive.rate", "a rate of zero drives nothing; write a factor above 0x"));
    }
    let paces = [("calendar", Pace::Calendar), ("steady", Pace::Steady)];
    let arrivals = [("poisson", Arrivals::Poisson), ("constant", Arrivals::Constant)];
    Ok(Drive {
        rate,
        pace: raw.pace.as_ref().map_or(Ok(Pace::Calendar), |at| source.choice(at, "drive.pace", &paces))?,
        arrivals: raw
            .arrivals
            .as_ref()
            .map_or(Ok(Arrivals::Poisson), |at| source.choice(at, "drive.arrivals", &arrivals))?,
        metric_interval: source.optional(
            raw.metric_interval.as_ref(),
            "drive.metric_interval",
            minute..DAY + minute,
            minute * 15,
        )?,
    })
}

fn time_outs(raw: &BTreeMap<Text, Text>, source: &Source) -> Option<TimeOuts> {
    let default = Duration::from_secs(2);
    let mut time_outs =
        Some(TimeOuts { postgres: default, redis: default, elasticsearch: default, clickhouse: default * 5 });
    for (name, at) in raw {
        let checked = time_out(name, at, source);
        time_outs = source.keep(checked).zip(time_outs).map(|((store, time_out), mut time_outs)| {
            *time_outs.for_store_mut(store) = time_out;
            time_outs
        });
    }
    time_outs
}

fn time_out(name: &Text, at: &Text, source: &Source) -> Result<(Store, Duration), ScenarioError> {
    let store = Store::from_name(name.as_ref())
        .ok_or_else(|| unknown(name, "time_outs", "store", Store::ALL.iter().map(|store| store.as_str()), source))?;
    let key = format!("time_outs.{}", name.as_ref());
    Ok((store, source.duration(at, &key, Duration::from_millis(1)..Duration::from_secs(601))?))
}

fn connections(raw: &raw::Connections, source: &Source) -> Result<Connections, ScenarioError> {
    let mut connections = Connections::default();
    if let Some(count) = &raw.postgres {
        connections.postgres = source.count(count, "connections.postgres", 1..10_001)? as u32;
    }
    if let Some(count) = &raw.postgres_writers {
        connections.postgres_writers = source.count(count, "connections.postgres_writers", 1..10_001)? as u32;
    }
    Ok(connections)
}

fn availability(raw: Option<&raw::Availability>, source: &Source) -> Result<Availability, ScenarioError> {
    let Some(raw) = raw else { return Ok(Availability::default()) };
    let share = |at: &Option<Text>, key: &str| {
        at.as_ref().map(|at| source.unit(at, key, |text| units::percent(text, 50.0, 99.9999))).transpose()
    };
    let default = Availability::default();
    let choices = [("block", Undecided::Block), ("allow", Undecided::Allow)];
    let undecided = match &raw.undecided {
        Some(at) => source.choice(at, "availability.undecided", &choices)?,
        None => default.undecided,
    };
    Ok(Availability {
        objective: share(&raw.objective, "availability.objective")?.unwrap_or(default.objective),
        first_attempts: share(&raw.first_attempts, "availability.first_attempts")?,
        longest_outage: match &raw.longest_outage {
            Some(at) => {
                let range = Duration::from_millis(1)..Duration::from_secs(3_601);
                Some(source.duration(at, "availability.longest_outage", range)?)
            }
            None => None,
        },
        undecided,
    })
}
