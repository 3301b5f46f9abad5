//! Checks a scenario as it is written in its file. The first mistake is reported with its line.

use chrono::Datelike;
use std::{collections::BTreeMap, ops::Range, time::Duration};

use toml::Spanned;

use super::error::ScenarioError;
use super::raw::{self, Count, Raw, Text};
use super::types::{Arrivals, Availability, Connections, Scenario, Slo, TimeOuts, Undecided};
use super::units;
use crate::population::TenantClass;
use crate::question::{Question, Store};

/// Maximum number of records of one kind.
const MAX_RECORDS: u64 = 100_000_000;
/// Maximum number of windows in which an SLO must hold: each has counters of its own.
const MAX_WINDOWS: u32 = 1_500;
const DAY: Duration = Duration::from_hours(24);
/// Longest past: ClickHouse drops rows after seven years, and what has been dropped can't be accounted for.
const MAX_PAST: Duration = Duration::from_hours(24 * 2_500);

/// The text being checked; errors refer to its lines.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// An error about the text at `span`.
    pub(super) fn error(&self, span: Range<usize>, message: impl std::fmt::Display) -> ScenarioError {
        let line = self.text[..span.start.min(self.text.len())].matches('\n').count() + 1;
        ScenarioError { file: self.file.to_owned(), message: format!("line {line}: {message}") }
    }

    fn wrong<T>(&self, at: &Spanned<T>, key: &str, message: impl std::fmt::Display) -> ScenarioError {
        self.error(at.span(), format!("`{key}`: {message}"))
    }

    fn unit<T>(&self, at: &Text, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, ScenarioError> {
        parse(at.as_ref()).map_err(|message| self.wrong(at, key, message))
    }

    fn duration(&self, at: &Text, key: &str, range: Range<Duration>) -> Result<Duration, ScenarioError> {
        let value = self.unit(at, key, units::duration)?;
        if range.contains(&value) {
            return Ok(value);
        }
        let [low, high] = [range.start, range.end].map(units::exact_duration);
        Err(self.wrong(
            at,
            key,
            format!("\"{}\" is out of range; write at least {low} and less than {high}", at.as_ref()),
        ))
    }

    fn optional(
        &self,
        at: Option<&Text>,
        key: &str,
        range: Range<Duration>,
        default: Duration,
    ) -> Result<Duration, ScenarioError> {
        at.map_or(Ok(default), |at| self.duration(at, key, range))
    }

    fn count(&self, at: &Count, key: &str, range: Range<u64>) -> Result<u64, ScenarioError> {
        let value = *at.as_ref();
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.wrong(at, key, format!("{value} is out of range; write {} to {}", range.start, range.end - 1)))
    }
}

/// Checks everything, in the order of the file.
pub(super) fn check(raw: &Raw, source: &Source<'_>) -> Result<Scenario, ScenarioError> {
    let name = name(&raw.name, source)?;
    let time = time(&raw.time, source)?;
    let tenants = source.count(&raw.population.tenants, "population.tenants", 1..1_001)?;
    let sizes = sizes(raw, tenants, source)?;
    let time_outs = time_outs(&raw.time_outs, source)?;
    let probes = probes(&raw.probes, source)?;
    let slos = slos(&raw.slo, &probes, &time_outs, (tenants, time.duration), source)?;
    let minute = Duration::from_mins(1);
    Ok(Scenario {
        name,
        description: raw.description.clone(),
        seed: raw.seeds.data,
        key_seed: raw.seeds.keys,
        start: time.start,
        span: time.span,
        duration: time.duration,
        warm_up: time.warm_up,
        settle: time.settle,
        tenants: tenants as u32,
        tenant_skew: sizes.skew,
        customers: sizes.customers,
        customers_per_campaign: sizes.per_campaign,
        customers_per_agent: sizes.per_agent,
        history: sizes.history,
        history_span: past_span(&raw.past.span, source)?,
        communications: sizes.communications,
        metric_interval: source.optional(
            raw.drive.metric_interval.as_ref(),
            "drive.metric_interval",
            minute..DAY + minute,
            minute * 15,
        )?,
        arrivals: arrivals(raw.drive.arrivals.as_ref(), source)?,
        probes,
        slos,
        availability: raw.availability.as_ref().map_or(Ok(Availability::default()), |raw| availability(raw, source))?,
        time_outs,
        connections: connections(&raw.connections, source)?,
    })
}

fn name(at: &Text, source: &Source<'_>) -> Result<String, ScenarioError> {
    let name = at.as_ref();
    let fits = (1..=40).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits {
        return Ok(name.clone());
    }
    Err(source.wrong(
        at,
        "name",
        format!("\"{name}\" can't name files; use 1 to 40 lowercase letters, digits or hyphens"),
    ))
}

struct Time {
    start: chrono::DateTime<chrono::Utc>,
    span: Duration,
    duration: Duration,
    warm_up: Duration,
    settle: Duration,
}

fn time(raw: &raw::Time, source: &Source<'_>) -> Result<Time, ScenarioError> {
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
    let duration = source.duration(&raw.replayed_in, "time.replayed_in", second..DAY * 8)?;
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

fn sizes(raw: &Raw, tenants: u64, source: &Source<'_>) -> Result<Sizes, ScenarioError> {
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

fn past_span(at: &Text, source: &Source<'_>) -> Result<Duration, ScenarioError> {
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

fn arrivals(at: Option<&Text>, source: &Source<'_>) -> Result<Arrivals, ScenarioError> {
    let Some(at) = at else { return Ok(Arrivals::Poisson) };
    match at.as_ref().as_str() {
        "poisson" => Ok(Arrivals::Poisson),
        "constant" => Ok(Arrivals::Constant),
        other => Err(source.wrong(
            at,
            "drive.arrivals",
            format!("\"{other}\" is not an arrival process; use \"poisson\" or \"constant\""),
        )),
    }
}

fn time_outs(raw: &BTreeMap<Text, Text>, source: &Source<'_>) -> Result<TimeOuts, ScenarioError> {
    let default = Duration::from_secs(2);
    let mut time_outs = TimeOuts { postgres: default, redis: default, elasticsearch: default, clickhouse: default * 5 };
    for (name, at) in raw {
        let place = match Store::from_name(name.as_ref()) {
            Some(Store::Postgres) => &mut time_outs.postgres,
            Some(Store::Redis) => &mut time_outs.redis,
            Some(Store::Elasticsearch) => &mut time_outs.elasticsearch,
            Some(Store::Clickhouse) => &mut time_outs.clickhouse,
            None => return Err(unknown(name, "time_outs", "store", Store::ALL.iter().map(|s| s.as_str()), source)),
        };
        let key = format!("time_outs.{}", name.as_ref());
        *place = source.duration(at, &key, Duration::from_millis(1)..Duration::from_secs(601))?;
    }
    Ok(time_outs)
}

fn connections(raw: &raw::Connections, source: &Source<'_>) -> Result<Connections, ScenarioError> {
    let mut connections = Connections::default();
    if let Some(count) = &raw.postgres {
        connections.postgres = source.count(count, "connections.postgres", 1..10_001)? as u32;
    }
    Ok(connections)
}

fn unknown<'a>(
    at: &Text,
    table: &str,
    kind: &str,
    known: impl Iterator<Item = &'a str>,
    source: &Source<'_>,
) -> ScenarioError {
    let known: Vec<&str> = known.collect();
    source.wrong(at, table, format!("unknown {kind} \"{}\"; use {}", at.as_ref(), known.join(", ")))
}

fn question(at: &Text, key: &str, source: &Source<'_>) -> Result<Question, ScenarioError> {
    Question::from_name(at.as_ref())
        .ok_or_else(|| unknown(at, key, "question", Question::ALL.iter().map(|q| q.as_str()), source))
}

fn probes(raw: &BTreeMap<Text, Text>, source: &Source<'_>) -> Result<BTreeMap<Question, f64>, ScenarioError> {
    raw.iter()
        .map(|(name, rate)| {
            let question = question(name, "probes", source)?;
            Ok((question, source.unit(rate, &format!("probes.{question}"), units::rate)?))
        })
        .collect()
}

fn slos(
    raw: &[raw::Slo],
    probes: &BTreeMap<Question, f64>,
    time_outs: &TimeOuts,
    (tenants, drive): (u64, Duration),
    source: &Source<'_>,
) -> Result<Vec<Slo>, ScenarioError> {
    let mut slos: Vec<Slo> = Vec::new();
    for raw in raw {
        let slo = slo(raw, tenants, source)?;
        if let Some((at, window)) = raw.in_every.as_ref().zip(slo.in_every) {
            window_fits(at, window, drive, source)?;
        }
        if slos.iter().any(|earlier| earlier.name == slo.name) {
            return Err(source.wrong(
                &raw.name,
                "slo.name",
                format!("duplicate SLO \"{}\"; give each SLO a name of its own", slo.name),
            ));
        }
        if slo.questions.is_empty() {
            return Err(source.wrong(&raw.questions, "slo.questions", "it is empty; name at least one question"));
        }
        for (at, &question) in raw.questions.as_ref().iter().zip(&slo.questions) {
            let named = slo.questions.iter().filter(|&&other| other == question).count();
            let time_out = time_outs.for_store(question.store());
            let message = if named > 1 {
                format!("\"{question}\" is named twice; name it once")
            } else if !probes.contains_key(&question) {
                format!("\"{question}\" is judged but never asked; give it a rate in [probes]")
            } else if time_out < slo.within {
                format!("\"{question}\" times out before its limit; raise `time_outs.{}`", question.store().as_str())
            } else {
                continue;
            };
            return Err(source.wrong(at, "slo.questions", message));
        }
        slos.push(slo);
    }
    Ok(slos)
}

/// A drive has 2 to [`MAX_WINDOWS`] windows.
fn window_fits(at: &Text, window: Duration, drive: Duration, source: &Source<'_>) -> Result<(), ScenarioError> {
    let (shortest, longest) = (drive / MAX_WINDOWS, drive / 2);
    if (shortest..=longest).contains(&window) {
        return Ok(());
    }
    let [window, drive] = [window, drive].map(units::exact_duration);
    let [shortest, longest] = [shortest, longest].map(units::brief_duration);
    let message = format!("a drive of {drive} can't be judged in windows of {window}; write {shortest} to {longest}");
    Err(source.wrong(at, "slo.in_every", message))
}

fn slo(raw: &raw::Slo, tenants: u64, source: &Source<'_>) -> Result<Slo, ScenarioError> {
    let optional = |at: &Option<Text>, key: &str| {
        let range = Duration::from_millis(1)..DAY + Duration::from_secs(1);
        at.as_ref().map(|at| source.duration(at, key, range)).transpose()
    };
    Ok(Slo {
        name: name(&raw.name, source)?,
        questions: raw
            .questions
            .as_ref()
            .iter()
            .map(|at| question(at, "slo.questions", source))
            .collect::<Result<_, _>>()?,
        tenants: raw.tenants.as_ref().map(|at| tenant_class(at, tenants, source)).transpose()?,
        objective: source.unit(&raw.objective, "slo.objective", |text| units::percent(text, 50.0, 99.99))?,
        within: source.duration(&raw.within, "slo.within", Duration::from_millis(1)..Duration::from_secs(601))?,
        alpha: match &raw.alpha {
            Some(at) => source.unit(at, "slo.alpha", |text| units::percent(text, 0.01, 20.0))?,
            None => 0.05,
        },
        longest_stall: optional(&raw.longest_stall, "slo.longest_stall")?,
        in_every: optional(&raw.in_every, "slo.in_every")?,
    })
}

fn tenant_class(at: &Text, tenants: u64, source: &Source<'_>) -> Result<TenantClass, ScenarioError> {
    let class = TenantClass::ALL.into_iter().find(|class| class.as_str() == at.as_ref());
    let message = match class {
        // Fewer than three tenants leave a class empty.
        Some(class) if (0..tenants as usize).any(|index| TenantClass::of(index, tenants as usize) == class) => {
            return Ok(class);
        }
        Some(_) => format!("{tenants} tenants have no \"{}\" ones; use at least 3", at.as_ref()),
        None => format!("unknown class \"{}\"; use \"large\", \"middle\" or \"small\"", at.as_ref()),
    };
    Err(source.wrong(at, "slo.tenants", message))
}

fn availability(raw: &raw::Availability, source: &Source<'_>) -> Result<Availability, ScenarioError> {
    let share = |at: &Option<Text>, key: &str| {
        at.as_ref().map(|at| source.unit(at, key, |text| units::percent(text, 50.0, 99.9999))).transpose()
    };
    let default = Availability::default();
    let undecided = match raw.undecided.as_ref().map(|at| (at, at.as_ref().as_str())) {
        None => default.undecided,
        Some((_, "block")) => Undecided::Block,
        Some((_, "allow")) => Undecided::Allow,
        Some((at, other)) => {
            let message = format!("unknown choice \"{other}\"; use \"block\" or \"allow\"");
            return Err(source.wrong(at, "availability.undecided", message));
        }
    };
    Ok(Availability {
        objective: share(&raw.objective, "availability.objective")?.unwrap_or(default.objective),
        first_attempts: share(&raw.first_attempts, "availability.first_attempts")?,
        undecided,
    })
}
