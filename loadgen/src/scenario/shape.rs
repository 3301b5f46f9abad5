//! Checks the stages of a scenario: where each one is, and that something is driven at all. Every mistake is reported with
//! its line. It plans no operation.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::ScenarioError;
use super::forms::{MAX_RECORDS, MAX_TENANTS};
use super::raw::{self, Raw, Text};
use super::source::Source;
use super::stages::{Factor, Stage};
use super::types::Scenario;
use super::units::{self, exact_duration};
use crate::number::separated;
use crate::population::metrics_of_tenants;

/// Longest stage.
const MAX_LENGTH: Duration = Duration::from_hours(24 * 8);

/// The stages, those of all tenants first, then by tenant and by time; `None` if one has a mistake. The tenants and the length of the
/// drive are unknown where they have one: then only the stages' own values are checked.
pub(super) fn stages(raw: &Raw, tenants: Option<u64>, drive: Option<Duration>, source: &Source) -> Option<Vec<Stage>> {
    let of = tenants.unwrap_or(MAX_TENANTS);
    let checked: Vec<Option<(&raw::Stage, Stage)>> =
        raw.stage.iter().map(|raw| stage(raw, of, source).map(|stage| (raw, stage))).collect();
    let mut stages: Vec<(&raw::Stage, Stage)> = checked.into_iter().collect::<Option<_>>()?;
    let drive = tenants.and(drive)?;
    let owners: BTreeSet<Option<u32>> = stages.iter().map(|(_, stage)| stage.tenant).collect();
    for owner in &owners {
        let own: Vec<_> = stages.iter_mut().filter(|(_, stage)| stage.tenant == *owner).collect();
        source.keep(place(own, drive, source))?;
    }
    let mut stages: Vec<Stage> = stages.into_iter().map(|(_, stage)| stage).collect();
    stages.sort_by_key(|stage| (stage.tenant, stage.start));
    Some(stages)
}

fn stage(raw: &raw::Stage, tenants: u64, source: &Source) -> Option<Stage> {
    let factor =
        |at: &Option<Text>, key: &str| source.keep(at.as_ref().map(|at| source.unit(at, key, units::ramp)).transpose());
    let rate = factor(&raw.rate, "stage.rate");
    let (writes, probes) = (factor(&raw.writes, "stage.writes"), factor(&raw.probes, "stage.probes"));
    source.keep(says_one_thing(raw, source))?;
    let tenant = source.keep(raw.tenant.as_ref().map(|at| tenant(at, tenants, source)).transpose());
    let start = source.optional(raw.from.as_ref(), "stage.from", Duration::ZERO..=MAX_LENGTH, Duration::ZERO);
    let start = source.keep(start);
    let range = Duration::from_millis(1)..=MAX_LENGTH;
    let length = source.keep(source.duration(&raw.length, "stage.for", range));
    let (rate, writes, probes) = (rate?, writes?, probes?);
    let [writes, probes] = [rate.or(writes), rate.or(probes)].map(|factor| factor.unwrap_or(Factor::ONE));
    if let Some(at) = raw.tenant.as_ref().filter(|_| writes.is_ramp() || probes.is_ramp()) {
        let message = "the stage of a tenant has no ramp, only constant factors; only stages of all tenants ramp";
        source.keep_all([source.wrong(at, "stage.tenant", message)]);
        return None;
    }
    Some(Stage { start: start?, length: length?, writes, probes, tenant: tenant? })
}

/// Whether a stage has a factor for each of the writes and the questions at most once, and any at all.
fn says_one_thing(raw: &raw::Stage, source: &Source) -> Result<(), ScenarioError> {
    let parts = [(&raw.writes, "writes"), (&raw.probes, "probes")];
    let said = parts.into_iter().find_map(|(at, key)| at.as_ref().map(|at| (at, key)));
    match (&raw.rate, said) {
        (Some(_), Some((at, key))) => {
            let message = format!("`rate` of this stage already is the factor of `{key}`; remove one of the two");
            Err(source.wrong(at, &format!("stage.{key}"), message))
        }
        (None, None) => {
            let message = "it changes nothing; write its `rate`, such as \"10x\", or only its `writes` or its `probes`";
            Err(source.wrong(&raw.length, "stage", message))
        }
        _ => Ok(()),
    }
}

fn tenant(at: &Text, tenants: u64, source: &Source) -> Result<u32, ScenarioError> {
    let number = match at.as_ref().as_str() {
        "largest" => Some(1),
        "smallest" => Some(tenants),
        number => number.parse::<u64>().ok(),
    };
    number.filter(|number| (1..=tenants).contains(number)).map(|number| (number - 1) as u32).ok_or_else(|| {
        let message = format!(
            "\"{}\" is not a tenant; write \"largest\", \"smallest\" or a number from \"1\" to \"{tenants}\"",
            at.as_ref()
        );
        source.wrong(at, "stage.tenant", message)
    })
}

/// Gives the stages of one owner their starts. They are in the order of the file and never overlap.
fn place(stages: Vec<&mut (&raw::Stage, Stage)>, drive: Duration, source: &Source) -> Result<(), ScenarioError> {
    let mut end = Duration::ZERO;
    let mut last: Option<&raw::Stage> = None;
    let is_placed = stages.iter().any(|(raw, _)| raw.from.is_some());
    for (raw, stage) in stages {
        match &raw.from {
            Some(at) if stage.start < end => {
                let [start, end] = [stage.start, end].map(exact_duration);
                let message = format!(
                    "it starts at {start}, before the stage above ends at {end}; start it later, or put stages in order of \
                     time"
                );
                return Err(source.wrong(at, "stage.from", message));
            }
            Some(_) => {}
            None => stage.start = end,
        }
        end = stage.end();
        if end > drive {
            let [end, drive] = [end, drive].map(exact_duration);
            let message = format!("it ends at {end}, and the drive at {drive} (`time.replayed_in`); shorten it");
            return Err(source.wrong(&raw.length, "stage.for", message));
        }
        last = Some(raw);
    }
    match last.filter(|_| end < drive && !is_placed) {
        None => Ok(()),
        Some(raw) => {
            let [end, drive] = [end, drive].map(exact_duration);
            let message = format!(
                "the stages end at {end}, and the drive at {drive} (`time.replayed_in`); lengthen them, or give one a `from`: \
                 then the rest of the drive is at 1x"
            );
            Err(source.wrong(&raw.length, "stage.for", message))
        }
    }
}

/// Keeps a mistake if nothing is written or asked, too much is, or for longer than what the load caches lasts.
pub(super) fn fits(scenario: &Scenario, raw: &Raw, source: &Source) {
    source.keep(outlasts(scenario, raw, source));
    source.keep(metrics_fit(scenario, raw, source));
    if !raw.stage.is_empty() {
        source.keep(stages_drive(scenario, raw, source));
    }
    source.keep(communications_fit(scenario, raw, source));
}

fn metrics_fit(scenario: &Scenario, raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    let (before, driven) = if scenario.describes_population { metrics_of_tenants(&scenario.into()) } else { (0, 0) };
    if before.max(driven) <= MAX_RECORDS {
        return Ok(());
    }
    let [before, driven, most] = [before, driven, MAX_RECORDS].map(separated);
    let message = format!(
        "it has {before} metrics of agents in the past and {driven} in the drive, and at most {most} are possible; raise it, \
         shorten `past.span` or `time.span`, or have fewer customers"
    );
    let at = raw.drive.metric_interval.as_ref().unwrap_or(&raw.past.span);
    Err(source.wrong(at, "drive.metric_interval", message))
}

/// Whether a drive writes at most [`MAX_RECORDS`] communications.
fn communications_fit(scenario: &Scenario, raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    let most = separated(MAX_RECORDS);
    if let Some(at) = raw.drive.rate.as_ref().filter(|_| scenario.communications > MAX_RECORDS) {
        let message = format!("it raises the communications above {most}; lower it");
        return Err(source.wrong(at, "drive.rate", message));
    }
    let highest = (0..scenario.tenants).map(|tenant| scenario.write_factor(tenant)).fold(0.0, f64::max);
    if scenario.communications as f64 * highest <= MAX_RECORDS as f64 {
        return Ok(());
    }
    let mean = |(_, factor): &Written<'_>| f64::midpoint(factor.from, factor.to);
    match factors(raw, "stage.writes", |stage| &stage.writes).max_by(|a, b| mean(a).total_cmp(&mean(b))) {
        None => {
            let message = format!("with those of the warm-up, it is above {most}; lower it");
            Err(source.wrong(&raw.drive.communications, "drive.communications", message))
        }
        Some(((at, key), _)) => {
            let message = format!("the stages raise the communications above {most}; lower their factors");
            Err(source.wrong(at, key, message))
        }
    }
}

/// A factor, where it is written and by which key.
type Written<'a> = ((&'a Text, &'static str), Factor);

/// The factors that the stages give the writes, or the questions: by `key`, or by that of both.
fn factors<'a>(
    raw: &'a Raw,
    key: &'static str,
    own: impl Fn(&'a raw::Stage) -> &'a Option<Text>,
) -> impl Iterator<Item = Written<'a>> {
    raw.stage.iter().filter_map(move |stage| {
        let of_both = stage.rate.as_ref().map(|at| (at, "stage.rate"));
        let at = of_both.or(own(stage).as_ref().map(|at| (at, key)))?;
        Some((at, units::ramp(at.0.as_ref()).ok()?))
    })
}

/// Whether something is written and asked in some stage.
fn stages_drive(scenario: &Scenario, raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    let is_zero = |(_, factor): &Written<'_>| factor.from == 0.0 && factor.to == 0.0;
    let written: f64 = (0..scenario.tenants).map(|tenant| scenario.write_factor(tenant)).fold(f64::INFINITY, f64::min);
    if let Some(((at, key), _)) =
        factors(raw, "stage.writes", |stage| &stage.writes).find(is_zero).filter(|_| written <= 0.0)
    {
        let message =
            "it leaves a tenant's writes at zero in the whole drive; give at least one stage a factor above 0x";
        return Err(source.wrong(at, key, message));
    }
    let asked = (0..scenario.tenants).map(|tenant| scenario.probe_factors(tenant).total()).fold(0.0, f64::max);
    let nothing_asked = asked <= 0.0 && !scenario.probes.is_empty();
    if let Some(((at, key), _)) =
        factors(raw, "stage.probes", |stage| &stage.probes).find(is_zero).filter(|_| nothing_asked)
    {
        let message = "it leaves all questions at zero in the whole drive; give at least one stage a factor above 0x, or ask none \
                       in [probes]";
        return Err(source.wrong(at, key, message));
    }
    Ok(())
}

/// Whether what the load caches outlasts the drive, for the questions that expect it: half of its time to live, since the
/// load takes time as well.
fn outlasts(scenario: &Scenario, raw: &Raw, source: &Source) -> Result<(), ScenarioError> {
    let asked_by_users = scenario.users.iter().flat_map(|users| users.questions.keys());
    for question in scenario.probes.keys().chain(asked_by_users) {
        let Some(longest) = question.cached_for().map(|ttl| ttl / 2) else { continue };
        if scenario.warm_up + scenario.duration > longest {
            let message = format!(
                "the warm-up and the drive take longer than {longest}, and what `{question}` asks for is loaded into the \
                 cache only once and expires; shorten the drive, or do not ask `{question}`",
                longest = exact_duration(longest)
            );
            return Err(source.wrong(&raw.time.replayed_in, "time.replayed_in", message));
        }
    }
    Ok(())
}
