//! Checks a scenario as it is written in its file. Every mistake is reported with its line. It never reads the file
//! itself.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use toml::Spanned;

use super::decidable::{availability_decidable, decidable};
use super::error::ScenarioError;
use super::forms::{MAX_CONNECTIONS, MAX_RECORDS, MAX_SKEW, MAX_TENANTS};
use super::limits::{Connections, TimeOuts};
use super::names::name;
use super::probes::probes;
use super::raw::{self, Count, Raw, Text};
use super::slos::slos;
use super::source::Source;
use super::types::{Access, Arrivals, Availability, Pace, Scenario, Undecided};
use super::units::exact_duration;
use super::{access, questions, shape, units, users};
use crate::question::Store;

const DAY: Duration = Duration::from_hours(24);
/// Longest past: ClickHouse drops rows after seven years, and what has been dropped can't be accounted for.
const MAX_PAST: Duration = Duration::from_hours(24 * 2_500);

/// Checks everything; every mistake is found that does not follow from another one.
pub(super) fn check(raw: &Raw, access: Option<Access>, source: &Source) -> Result<Scenario, Vec<ScenarioError>> {
    let checked = parts(raw, source);
    // What lacks a mistaken rate has fewer samples than its file says.
    if let Some(scenario) = checked.as_ref().filter(|_| !source.has_mistakes()) {
        decidable(scenario, &raw.slo, source);
        availability_decidable(scenario, raw.availability.as_ref(), source);
    }
    if let Some((scenario, access)) = checked.as_ref().zip(access) {
        access::fits(raw, &scenario.slos, access, source);
    }
    let mistakes = source.mistakes();
    checked.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

fn parts(raw: &Raw, source: &Source) -> Option<Scenario> {
    let (name, time) = (source.keep(name(&raw.name, "name", source)), time(&raw.time, source));
    let tenants = source.keep(source.count(&raw.population.tenants, "population.tenants", 1..MAX_TENANTS + 1));
    let sizes = sizes(raw, tenants.unwrap_or(1), source);
    let history_span = source.keep(past_span(&raw.past.span, source));
    let drive = drive(&raw.drive, source);
    let own = questions::questions(&raw.question, source);
    let (probes, users) = (probes(raw, &own, source), users::users(&raw.users, &own, source));
    let drive_length = time.as_ref().map(|time| time.duration);
    let stages = shape::stages(raw, tenants, drive_length, source);
    let (time_outs, connections) = (time_outs(&raw.time_outs, source), connections(&raw.connections, source));
    let slos = slos(&raw.slo, (&probes, users.as_deref(), &own), time_outs.as_ref(), (tenants, drive_length), source);
    let availability = availability(raw.availability.as_ref(), source);
    let (time, sizes, drive) = (time?, sizes?, drive?);
    let rates = probes.rates.into_iter().map(|(question, rate)| (question, rate * drive.rate));
    // What the last checks do not need has its default if it has a mistake: such a scenario is never used.
    let scenario = Scenario {
        name: name.unwrap_or_default(),
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
        probes: rates.collect(),
        by_calendar: probes.by_calendar,
        questions: own,
        describes_population: raw.describes_population,
        stages: stages?,
        users: users.unwrap_or_default(),
        slos,
        availability: availability.unwrap_or_default(),
        time_outs: time_outs.unwrap_or_default(),
        connections: connections.unwrap_or_default(),
    };
    shape::fits(&scenario, raw, source);
    Some(scenario)
}

struct Time {
    start: DateTime<Utc>,
    span: Duration,
    duration: Duration,
    warm_up: Duration,
    settle: Duration,
}

fn time(raw: &raw::Time, source: &Source) -> Option<Time> {
    let (second, hour) = (Duration::from_secs(1), Duration::from_hours(1));
    let start = source.keep(start(&raw.start, source));
    let span = source.keep(source.duration(&raw.span, "time.span", second..=DAY * 400));
    // Kafka keeps the records of a run for a week.
    let duration = source.keep(source.duration(&raw.replayed_in, "time.replayed_in", second..=DAY * 6));
    let warm_up =
        source.keep(source.optional(raw.warm_up.as_ref(), "time.warm_up", Duration::ZERO..=hour, Duration::ZERO));
    let settle = source.keep(source.optional(raw.settle.as_ref(), "time.settle", second..=hour, second * 60));
    if let Some((span, duration)) = span.zip(duration).filter(|(span, duration)| duration > span) {
        let [span, duration] = [span, duration].map(exact_duration);
        let message = format!(
            "{duration} is longer than `time.span`, {span}; time can be compressed, not stretched: shorten it, or lengthen \
             `time.span`"
        );
        source.keep_all([source.wrong(&raw.replayed_in, "time.replayed_in", message)]);
        return None;
    }
    Some(Time { start: start?, span: span?, duration: duration?, warm_up: warm_up?, settle: settle? })
}

fn start(at: &Spanned<raw::Instant>, source: &Source) -> Result<DateTime<Utc>, ScenarioError> {
    let wrong = |message: &str| source.wrong(at, "time.start", message);
    let start = at.as_ref().parse().map_err(|message| wrong(&message))?;
    if !(2000..2100).contains(&start.year()) {
        return Err(wrong(
            "it is outside the supported years; choose a year from 2000 to 2099; data older than seven years is not kept",
        ));
    }
    if start.timestamp_millis() % 3_600_000 != 0 {
        return Err(wrong("it is not a full hour; write a full hour, such as 2026-11-16T00:00:00Z"));
    }
    Ok(start)
}

struct Sizes {
    skew: f64,
    customers: u64,
    per_campaign: u64,
    per_agent: u64,
    history: u64,
    communications: u64,
}

fn sizes(raw: &Raw, tenants: u64, source: &Source) -> Option<Sizes> {
    let people = &raw.population;
    let count = |at: &Count, key: &str, least: u64| source.keep(source.count(at, key, least..MAX_RECORDS + 1));
    let per = |at: Option<&Count>, key: &str| at.map_or(Some(500), |at| count(at, key, 1));
    let skew = source.keep(skew(people.skew.as_ref(), source));
    let customers = count(&people.customers, "population.customers", tenants);
    let per_campaign = per(people.customers_per_campaign.as_ref(), "population.customers_per_campaign");
    let per_agent = per(people.customers_per_agent.as_ref(), "population.customers_per_agent");
    let history = count(&raw.past.communications, "past.communications", tenants);
    let communications = count(&raw.drive.communications, "drive.communications", tenants);
    Some(Sizes {
        skew: skew?,
        customers: customers?,
        per_campaign: per_campaign?,
        per_agent: per_agent?,
        history: history?,
        communications: communications?,
    })
}

fn skew(at: Option<&Spanned<f64>>, source: &Source) -> Result<f64, ScenarioError> {
    let Some(at) = at else { return Ok(1.0) };
    let skew = *at.as_ref();
    if (0.0..=f64::from(MAX_SKEW)).contains(&skew) {
        return Ok(skew);
    }
    let message = format!("{skew} is out of range; write 0 (equal tenants) to {MAX_SKEW}");
    Err(source.wrong(at, "population.skew", message))
}

fn past_span(at: &Text, source: &Source) -> Result<Duration, ScenarioError> {
    let span = source.duration(at, "past.span", DAY..=MAX_PAST)?;
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

fn drive(raw: &raw::Drive, source: &Source) -> Option<Drive> {
    let minute = Duration::from_mins(1);
    let paces = [("calendar", Pace::Calendar), ("steady", Pace::Steady)];
    let arrivals = [("poisson", Arrivals::Poisson), ("constant", Arrivals::Constant)];
    let rate = source.keep(rate(raw.rate.as_ref(), source));
    let pace = raw.pace.as_ref().map_or(Ok(Pace::Calendar), |at| source.choice(at, "drive.pace", &paces));
    let pace = source.keep(pace);
    let arrivals =
        raw.arrivals.as_ref().map_or(Ok(Arrivals::Poisson), |at| source.choice(at, "drive.arrivals", &arrivals));
    let arrivals = source.keep(arrivals);
    let range = minute..=DAY;
    let interval = source.optional(raw.metric_interval.as_ref(), "drive.metric_interval", range, minute * 15);
    let metric_interval = source.keep(interval);
    Some(Drive { rate: rate?, pace: pace?, arrivals: arrivals?, metric_interval: metric_interval? })
}

fn rate(at: Option<&Text>, source: &Source) -> Result<f64, ScenarioError> {
    let Some(at) = at else { return Ok(1.0) };
    let rate = source.unit(at, "drive.rate", units::factor)?;
    if rate == 0.0 {
        return Err(source.wrong(at, "drive.rate", "a rate of zero drives nothing; write a factor above 0x"));
    }
    Ok(rate)
}

fn time_outs(raw: &BTreeMap<Text, Text>, source: &Source) -> Option<TimeOuts> {
    let range = Duration::from_millis(1)..=Duration::from_mins(10);
    let mut time_outs = Some(TimeOuts::default());
    let by_store = raw.iter().filter_map(|(name, at)| Some((Store::from_name(name.as_ref())?, at)));
    for (store, at) in by_store {
        let checked = source.keep(source.duration(at, &format!("time_outs.{}", store.as_str()), range.clone()));
        time_outs = checked.zip(time_outs).map(|(time_out, mut time_outs)| {
            *time_outs.for_store_mut(store) = time_out;
            time_outs
        });
    }
    time_outs
}

fn connections(raw: &raw::Connections, source: &Source) -> Option<Connections> {
    let default = Connections::default();
    let count = |at: Option<&Count>, key: &str, default: u32| {
        at.map_or(Some(default), |at| {
            source.keep(source.count(at, key, 1..MAX_CONNECTIONS + 1)).map(|count| count as u32)
        })
    };
    let postgres = count(raw.postgres.as_ref(), "connections.postgres", default.postgres);
    let writers = count(raw.postgres_writers.as_ref(), "connections.postgres_writers", default.postgres_writers);
    Some(Connections { postgres: postgres?, postgres_writers: writers? })
}

fn availability(raw: Option<&raw::Availability>, source: &Source) -> Option<Availability> {
    let default = Availability::default();
    let Some(raw) = raw else { return Some(default) };
    let share = |at: &Option<Text>, key: &str| {
        let share = |at| source.unit(at, key, |text| units::percent(text, 50.0, 99.9999));
        source.keep(at.as_ref().map(share).transpose())
    };
    let choices = [("block", Undecided::Block), ("allow", Undecided::Allow)];
    let choice = |at| source.choice(at, "availability.undecided", &choices);
    let longest = |at| {
        let range = Duration::from_millis(1)..=Duration::from_hours(1);
        source.duration(at, "availability.longest_outage", range)
    };
    let objective = share(&raw.objective, "availability.objective");
    let first_attempts = share(&raw.first_attempts, "availability.first_attempts");
    let longest_outage = source.keep(raw.longest_outage.as_ref().map(longest).transpose());
    let undecided = source.keep(raw.undecided.as_ref().map_or(Ok(default.undecided), choice));
    Some(Availability {
        objective: objective?.unwrap_or(default.objective),
        first_attempts: first_attempts?,
        longest_outage: longest_outage?,
        undecided: undecided?,
    })
}
